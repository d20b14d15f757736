"""Loops compiled to machine code by numba, and how they read and write octets anywhere.

Every signature is written out, so a kernel is compiled, or read from its cache, when its module is
imported and never while a batch waits. ``load`` and ``store`` check nothing: a kernel checks, once
and before its loops, that all it will touch lies within its buffers.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from core.log import get_logger

log = get_logger(__name__)

Int = Any  # To numba a number of Python and one of numpy are the same.
# Typed here once: numba has no annotations.
types: Any = numba_types
tuple_of: Any = types.UniTuple
F = TypeVar("F", bound=Callable[..., Any])


def compiled(result: Any, *arguments: Any) -> Callable[[F], F]:
    """Compile a kernel for these types; it holds no lock of Python's while it runs."""

    def decorate(function: F) -> F:
        signature = result(*arguments)
        try:
            made = numba.njit(signature, nogil=True, cache=True)(function)
        except Exception as error:  # noqa: BLE001  # A wrong kernel fails again just below.
            # No folder may be written, the disk is full, or a power cut left half a file.
            _tell_once(type(error).__name__, str(error).partition("\n")[0])
            made = numba.njit(signature, nogil=True)(function)
        return cast("F", made)

    return decorate


@cache
def _tell_once(kind: str, why: str) -> None:
    log.warning("compiled code is not kept, each start compiles again", error=kind, why=why)


def inlined(function: F) -> F:
    """Let kernels of the same module call a function."""
    return cast("F", numba.njit(function, nogil=True))


def merged(function: F) -> F:
    """Do the same, put in place of the call before types are inferred: for what is one line."""
    return cast("F", numba.njit(function, nogil=True, inline="always"))


def read(kind: Any, dimensions: int = 1) -> Any:
    """Return the type of a contiguous array that is only read."""
    return types.Array(kind, dimensions, "C", readonly=True)


def read_strided(kind: Any) -> Any:
    """Return the type of an array that is only read, whatever its stride."""
    return types.Array(kind, 1, "A", readonly=True)


def write(kind: Any, dimensions: int = 1) -> Any:
    """Return the type of a contiguous array."""
    return types.Array(kind, dimensions, "C")


def pair(kind: Any) -> Any:
    """Return the type of two values of one kind."""
    return tuple_of(kind, 2)


# Arguments of kernels: contiguous arrays, and those that are only read.
OCTETS, READ_BOOLS = read(types.uint8), read(types.boolean)
READ_I32, READ_U32 = read(types.int32), read(types.uint32)
READ_I64, READ_U64 = read(types.int64), read(types.uint64)
READ_TABLE = read(types.int64, 2)
U8, U16, U32, U64 = map(write, (types.uint8, types.uint16, types.uint32, types.uint64))
I32, I64 = write(types.int32), write(types.int64)
F64, BOOLS = write(types.float64), write(types.boolean)
TABLE, FLOATS = write(types.int64, 2), write(types.float64, 2)
INT = types.int64

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
