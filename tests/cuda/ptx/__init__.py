"""A CUDA device made of the text that the compiler hands to a driver, for kernels that no device has run yet.

Numba compiles a kernel to PTX as for a real device. `text` reads it, `translation` and `arithmetic` turn it into C,
`compiled` makes that native, and `runtime/` runs all threads of all blocks of a launch on one core: each thread has a
stack of its own and is left where it waits for others. `driver` stands where Numba expects the driver, so that types,
compilation, packing of arguments, streams and copies are Numba's own code, and what the package does on a device it
does here.

What is looked after, and reported with the line of PTX:

* each access is within an allocation or a shared array (behind each lie bytes of nothing), and aligned, vectors as a
  whole;
* what is read has been written, in shared and global memory and by copies to the host; registers begin as junk;
* no two threads touch a word, and one of them writes, without a barrier between: that of the block for shared memory,
  that of the grid for global memory between blocks. Atomic operations may, and stores of the value that is there
  already are told apart;
* all threads reach the same barrier, all lanes of a warp the same tensor-core instruction;
* launches are such as a driver accepts, arguments as large as the parameters, cooperative grids resident as a whole.

Integers, rounded operations of both floats, conversions, bits, atomics and the tensor-core product of bytes are exact.
An instruction or form that is not known raises `Unknown` with its line: nothing is passed over.

What it does not show: what the assembler makes of PTX, except that plain products and sums may be contracted
(`Settings.contract`); the tables behind approximate instructions (here the rounded value, moved by `Settings.off_by`);
memory whose writes are seen out of order, except as races; time.
"""
