"""CUDA backend in Numba-CUDA: bit-packed states, integer tensor-core products, the draws of the CPU kernels.

Nothing here is imported before a device is asked for (`fastrbm._kernels.get_backend`). From the bottom up:

* what kernels are written in: `_target` (device or simulator), `_mma`, `device` (scalar functions), `tiles` (products);
* kernels: `sweep` (layers), `gradient`, `grey` (real rows), `chains`, `training` (whole passes), `anneal`, `delta` and
  `lowbit` (lean chains), `partition_kernel`, `elementwise`, `formulas` (other units), `dense`, `packing`;
* what launches them: `launching`, `memory`, `fixed` (weights as integers), `layers`, `steps`, `session` (a training
  run), `lean`, `partition`, and `backend`, the table of all;
* beside them: `availability` (is there a device), `interop` (arrays of other libraries), `ahead` (compiling without a
  device).
"""
