"""Loops compiled to machine code by numba, and how they read and write octets anywhere.

Every signature is written out, so a kernel is compiled, or read from its cache, when its module is
imported and never while a batch waits. ``load`` and ``store`` check nothing: a kernel checks, once
and before its loops, that all it will touch lies within its buffers.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

Int = Any  # To numba a number of Python and one of numpy are the same.
F = TypeVar("F", bound=Callable[..., Any])

# Arguments of kernels: octets that are only read, and contiguous arrays.
OCTETS = types.Array(types.uint8, 1, "C", readonly=True)
READ_I64 = types.Array(types.int64, 1, "C", readonly=True)
READ_U32 = types.Array(types.uint32, 1, "C", readonly=True)
READ_I32 = types.Array(types.int32, 1, "C", readonly=True)
READ_U64 = types.Array(types.uint64, 1, "C", readonly=True)
READ_TABLE = types.Array(types.int64, 2, "C", readonly=True)
U8, U16, U32, U64 = (
    types.Array(kind, 1, "C") for kind in (types.uint8, types.uint16, types.uint32, types.uint64)
)
I32, I64 = types.Array(types.int32, 1, "C"), types.Array(types.int64, 1, "C")
F64 = types.Array(types.float64, 1, "C")
TABLE = types.Array(types.int64, 2, "C")
FLOATS = types.Array(types.float64, 2, "C")
BOOLS = types.Array(types.boolean, 1, "C")
READ_BOOLS = types.Array(types.boolean, 1, "C", readonly=True)
INT = types.int64


def compiled(result: Any, *arguments: Any) -> Callable[[F], F]:
    """Compile a kernel for these types; it holds no lock of Python's while it runs."""

    def decorate(function: F) -> F:
        signature = result(*arguments)
        try:
            made = numba.njit(signature, nogil=True, cache=True)(function)
        except RuntimeError as error:
            # Neither beside the source nor in the user's cache folder may anything be written.
            if "cannot cache" not in str(error):
                raise
            made = numba.njit(signature, nogil=True)(function)
        return cast("F", made)

    return decorate


def inlined(function: F) -> F:
    """Let kernels of the same module call a function."""
    return cast("F", numba.njit(function, nogil=True))


# Typed here once: numba has no annotations.
tuple_of: Any = types.UniTuple
_struct: Any = cgutils.create_struct_proxy


def _loader(bits: int, *, swapped: bool) -> Any:
    kind = types.Integer.from_bitwidth(bits, signed=False)

    @intrinsic
    def load(_typing: Any, octets: Any, _at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = _struct(signature.args[0])(context, builder, arguments[0])
            place = builder.gep(array.data, [arguments[1]])
            value = builder.load(builder.bitcast(place, ir.IntType(bits).as_pointer()), align=1)
            return builder.bswap(value) if swapped and bits > 8 else value

        return kind(octets, types.int64), generate

    return load


def _storer(bits: int) -> Any:
    kind = types.Integer.from_bitwidth(bits, signed=False)

    @intrinsic
    def store(_typing: Any, octets: Any, _at: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = _struct(signature.args[0])(context, builder, arguments[0])
            place = builder.gep(array.data, [arguments[1]])
            target = builder.bitcast(place, ir.IntType(bits).as_pointer())
            builder.store(arguments[2], target, align=1)
            return context.get_dummy_value()

        return types.void(octets, types.int64, kind), generate

    return store


# Unsigned numbers in network order, and as they lie in memory.
be16, be32, be64 = (_loader(bits, swapped=True) for bits in (16, 32, 64))
get8, le32, le64 = (_loader(bits, swapped=False) for bits in (8, 32, 64))
put8, put16, put32, put64 = (_storer(bits) for bits in (8, 16, 32, 64))
