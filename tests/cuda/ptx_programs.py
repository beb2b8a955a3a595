"""Small kernels of PTX for tests of the emulated device."""

from __future__ import annotations

import ctypes
import struct

from ptx.compiled import EMULATION, CompiledKernel, runtime
from ptx.driver import INSTALLED
from ptx.memory import WRITTEN

_TEXT = """.version 9.0
.target sm_90a
.address_size 64
{shared}
.visible .entry _ZN4test(
	.param .u64 out,
	.param .u64 given
)
{{
	.reg .pred %p<9>;
	.reg .b16 %rs<9>;
	.reg .b32 %r<40>;
	.reg .f32 %f<9>;
	.reg .b64 %rd<20>;
	.reg .f64 %fd<9>;
	ld.param.u64 %rd1, [out];
	ld.param.u64 %rd2, [given];
{body}
	ret;
}}
"""  # noqa: E101, W191 - as compilers write it


def compiled(body, shared="", contract=False):
    """Return a kernel of some statements; it has the address of what comes out in %rd1, of what is given in %rd2."""
    return CompiledKernel(_TEXT.format(body=body, shared=shared), "_ZN4test", contract)


def run(body, given=b"", size=64, grid=(1, 1, 1), block=(1, 1, 1), shared="", cooperative=False, contract=False):
    """Run statements; returns the bytes that came out and kinds of problems. None is given: memory without values."""
    EMULATION.clear()
    runtime()
    # the device's own: other arrays of this process live there, too
    kernel, memory = compiled(body, shared, contract), INSTALLED[-1].memory
    out, inside = memory.allocate(size), memory.allocate(len(given or bytes(16)))
    for at, value in ((out, bytes(size)), (inside, given or b"")):
        ctypes.memmove(at, value, len(value))
        runtime().set_state(at, len(value), WRITTEN)
    try:
        kernel.launch(grid, block, struct.pack("<QQ", out, inside), cooperative)
    except RuntimeError:
        pass  # what happened is among the problems
    found = ctypes.string_at(out, size)
    memory.release(out)
    memory.release(inside)
    kinds = {text.partition(" at line")[0] for _, text in EMULATION.problems}
    EMULATION.clear()
    return found, kinds
