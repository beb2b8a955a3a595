"""What runs on the device.

From the bottom up:

* `target` is the device or the simulator, `arguments` the tuples that kernels take, `mma` the tensor-core instruction;
* `scalar` has functions of numbers (Philox, sigmoid), `tiles` exact products of bits with integers;
* `rules` (of optimisers), `quantise` (weights as integers), `layer` (half-steps), `grey` (rows in [0, 1]) and
  `gradient` are the phases that
* `training` (whole passes), `chains` (Gibbs sweeps) and `annealing` run in one launch each;
* `delta`, `lowbit` and `landmarks` are sweeps with less work and the same states;
* `partition` (exact sums), `elementwise` (also scores), `units` (other unit types), `dense`, `packing` and `values`
  (single operations) stand alone.

A module with kernels lists them in `entry_points`, for `ahead` to compile.
"""
