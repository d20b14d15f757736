"""Loops compiled to machine code, kept on the disk between runs where that is possible."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import types

F = TypeVar("F", bound=Callable[..., Any])

Int = Any  # To numba a number of Python and one of numpy are the same.


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
    return cast("Any", types).UniTuple(kind, 2)


def compiled(result: Any, *arguments: Any) -> Callable[[F], F]:
    """Compile a function for these types when it is defined; it holds no lock of Python's."""

    def decorate(function: F) -> F:
        signature = result(*arguments)
        try:
            made = numba.njit(signature, cache=True, nogil=True)(function)
        except RuntimeError as error:
            # Neither beside the source nor in the user's cache folder may anything be written.
            if "cannot cache" not in str(error):
                raise
            made = numba.njit(signature, nogil=True)(function)
        return cast("F", made)

    return decorate


def inlined(function: F) -> F:
    """Let compiled functions of the same module call a function."""
    return cast("F", numba.njit(function, nogil=True, inline="always"))
