"""Instructions that Numba has no name for: tensor-core products, and shifts of words that it would widen to 64 bits."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.cuda.extending import intrinsic


@intrinsic
def mma(typingctx, a0, a1, a2, a3, b0, b1, c0, c1, c2, c3):
    """``mma.sync.m16n8k32`` of unsigned bytes: C + A B, the four sums of this thread."""
    word, total = types.uint32, types.int32
    signature = types.UniTuple(total, 4)(*[word] * 6, *[total] * 4)

    def generate(context, builder, signature, arguments):
        i32 = ir.IntType(32)
        four = ir.LiteralStructType([i32] * 4)
        assembly = ir.InlineAsm(
            ir.FunctionType(four, [i32] * 10),
            "mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};",
            "=r,=r,=r,=r,r,r,r,r,r,r,r,r,r,r",
            side_effect=True,  # the lanes of a warp work together: it must not move into a branch
        )
        result = builder.call(assembly, arguments)
        return cgutils.pack_array(builder, [builder.extract_value(result, k) for k in range(4)])

    return signature, generate


@intrinsic
def shifted(typingctx, word, by):
    """``word >> by`` of 32 bits, for `by` from 0 to 31."""
    signature = types.uint32(types.uint32, types.uint32)

    def generate(context, builder, signature, arguments):
        return builder.lshr(*arguments)

    return signature, generate
