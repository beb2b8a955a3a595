"""CUDA backend in Numba-CUDA: bit-packed states, integer tensor-core products, the draws of the CPU kernels."""
