"""CUDA backend in Numba-CUDA: bit-packed states, integer tensor-core products, the draws of the CPU kernels.

Nothing here is imported before a device is asked for (`fastrbm._kernels.get_backend`).

This folder is the host's side, named as `fastrbm._kernels.cpu` is where it does the same. From the top down:

* `backend` is the table of kernels, made of `layers` (one layer given the other), `gradients` (and rules), `scores`;
* `training` (whole passes), `strategy` (free chains), `annealing` and `partition` (exact sums) are launched by it;
* `quantise` has the weights as integers, `units` the layers of other unit types, `dense` products of dense matrices,
  `packing` rows as bits or floats;
* `composed` is the same table for minibatches that are composed in `fastrbm._fit`, of values that stay on the device
  (`arrays`, which NumPy's operators and functions work on);
* `launching` says how kernels are launched, `memory` has arrays on the device, `pool` what is kept of it, `devices`
  work on several of them.

Beside these: `availability` (is there a device), `interop` (arrays of other libraries), `ahead` (compiling all kernels
without a device, and what they take) and `machine_code` (what the assembler made of their loops). What runs on the
device is in `kernels`.
"""
