"""Elements without a column of their own, as one JSON object a row."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from collector.decoded import ExtraRows

if TYPE_CHECKING:
    import polars as pl

_MEMO_MAX = 100_000


def json_text(values: Mapping[str, Any]) -> str:
    """Write one object; octets as ``hex:`` text."""
    return json.dumps(values, default=_plain, ensure_ascii=False, separators=(",", ":"))


def extra_texts(extra: Iterable[ExtraRows], count: int) -> tuple[NDArray[np.int32], "pl.Series"]:
    """Return for each of ``count`` rows the number of its object, or -1, and the objects."""
    import polars as pl

    numbers = np.full(count, -1, np.int32)
    parts: list[pl.Series] = []
    known = 0
    for rows, values in extra:
        if not len(rows) or not values:
            continue
        numbers[rows] = np.arange(known, known + len(rows), dtype=np.int32)
        parts.append(_objects(values))
        known += len(rows)
    return numbers, pl.concat(parts) if parts else pl.Series(dtype=pl.String)


def _objects(values: Mapping[str, Sequence[Any]]) -> "pl.Series":
    import polars as pl

    pieces: list[pl.Expr] = []
    frame: dict[str, pl.Series] = {}
    separator = "{"
    for name, column in values.items():
        pieces.append(pl.lit(f"{separator}{json.dumps(name, ensure_ascii=False)}:"))
        pieces.append(pl.col(name))
        frame[name] = _value_texts(column)
        separator = ","
    pieces.append(pl.lit("}"))
    return pl.DataFrame(frame).select(pl.concat_str(pieces).alias("extra")).to_series()


def _value_texts(column: Any) -> "pl.Series":
    """Write each value of one element as JSON."""
    import polars as pl

    if isinstance(column, np.ndarray) and column.dtype.kind in "iu":
        return pl.Series(np.ascontiguousarray(column)).cast(pl.String)
    values = column.tolist() if isinstance(column, np.ndarray) else column
    kinds = set(map(type, values))
    if kinds == {int}:
        return pl.Series(values, dtype=_integer(values)).cast(pl.String)
    if kinds == {str}:
        # Names and addresses repeat.
        memo: dict[Any, str] = {value: _dumps(value) for value in set(values)}
        return pl.Series([memo[value] for value in values], dtype=pl.String)
    return pl.Series([_dumps(value) for value in values], dtype=pl.String)


def _integer(values: Sequence[int]) -> Any:
    import polars as pl

    return pl.Int64 if min(values) < 0 else pl.UInt64


def _dumps(value: Any) -> str:
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"hex:{bytes(value).hex()}"
    if isinstance(value, np.void):
        return f"hex:{value.tobytes().hex()}"
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
