"""Instructions that Numba has no name for: tensor-core products, loads by addresses, shifts that it would widen."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.cuda.extending import intrinsic

_GLOBAL = 1  # number of the address space


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


@intrinsic
def opaque(typingctx, number):
    """The same integer, of which the compiler knows nothing: what follows from it is found here, not long before."""
    signature = number(number)

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        register = {32: "r", 64: "l"}[kind.width]
        nothing = ir.InlineAsm(ir.FunctionType(kind, [kind]), "", f"={register},0", side_effect=True)
        return builder.call(nothing, arguments)

    return signature, generate


def _typed(builder, signature, address):
    """Pointer to global memory of an address, of the type of the array that it is in."""
    pointee = ir.IntType(signature.args[0].dtype.bitwidth)
    return builder.inttoptr(address, ir.PointerType(pointee, _GLOBAL))


@intrinsic
def address_of(typingctx, array, index):
    """Address of ``array[index]``, a flat array of integers in global memory."""
    signature = types.uint64(array, index)

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(data, [arguments[1]])
        there = builder.addrspacecast(place, ir.PointerType(place.type.pointee, _GLOBAL))
        return builder.ptrtoint(there, ir.IntType(64))

    return signature, generate


@intrinsic
def words_from(typingctx, array, address):
    """Two uint32 one after the other as one uint64; the address is a multiple of 8."""
    signature = types.uint64(array, address)

    def generate(context, builder, signature, arguments):
        there = _typed(builder, signature, arguments[1])
        return builder.load(builder.bitcast(there, ir.PointerType(ir.IntType(64), _GLOBAL)), align=8)

    return signature, generate


@intrinsic
def pair_from(typingctx, array, address):
    """Two uint64 one after the other, by one access of 16 bytes; the address is a multiple of 16."""
    signature = types.UniTuple(array.dtype, 2)(array, address)

    def generate(context, builder, signature, arguments):
        there = _typed(builder, signature, arguments[1])
        two = builder.load(builder.bitcast(there, ir.PointerType(ir.VectorType(ir.IntType(64), 2), _GLOBAL)), align=16)
        index = ir.IntType(32)
        return cgutils.pack_array(builder, [builder.extract_element(two, ir.Constant(index, k)) for k in range(2)])

    return signature, generate
