"""Who had an address, and a port, at a moment or in a period: NAT events and flows as evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import polars as pl

from core.errors import UsageError
from core.schema import FLOWS, NAT_EVENTS
from storage.clickhouse.filters.compiling import NAT_BEGINS, NAT_ENDS
from storage.clickhouse.queries.dimensions import NONE, Dimension, Shape
from storage.clickhouse.queries.planning import Asks, scope_condition
from storage.clickhouse.queries.scope import PLATFORM, Period, Scope

BLOCK_BEGINS, BLOCK_ENDS = 16, 17
# How long before the moment a translation may have begun, and how far a flow may reach.
BEFORE = timedelta(hours=24)
AROUND = timedelta(minutes=5)
LATE = timedelta(hours=2)  # Routers report a flow only when it is over.
ROWS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows that say who it was, the strongest first.

    ``kind`` is binding, block, flow (translated) or own (an address used as it is); ``holder``
    and ``holder_port`` what is behind it; ``began_at`` and ``ended_at`` its time, the latter null
    while open; ``is_exact`` says that it covers the moment, or lies in the period with some part;
    the rest leads to the datagram.
    """

    frame: pl.DataFrame
    address: str
    port: int | None
    at: datetime | Period

    @property
    def holders(self) -> list[str]:
        """Return the addresses behind it at that time, each once, the best proven first."""
        exact = self.frame.filter(pl.col("is_exact"))["holder"].drop_nulls()
        return exact.unique(maintain_order=True).to_list()


def who(
    store: Asks,
    address: str,
    at: datetime | Period,
    *,
    port: int | None = None,
    protocol: int | None = None,
    scope: Scope = PLATFORM,
    before: timedelta = BEFORE,
) -> Evidence:
    """Return who had an address at a time; with a port, who was behind it through NAT."""
    first_ms, last_ms = _bounds(at)
    if port is not None and not 0 < port < 1 << 16:
        raise UsageError(f"port {port}: must be 1 to 65535")
    params: dict[str, Any] = {
        "addr": _mapped(address),
        "first_ms": first_ms,
        "last_ms": last_ms,
        "before_ms": round(before.total_seconds() * 1_000),
        "around_ms": round(AROUND.total_seconds() * 1_000),
        "late_ms": round(LATE.total_seconds() * 1_000),
        "begins": list(NAT_BEGINS),
        "ends": list(NAT_ENDS),
    }
    scoped = scope_condition(scope, params)
    rest = [scoped] if scoped != "1" else []
    if port is not None:
        params["port"] = port
    if protocol is not None:
        params["protocol"] = protocol
    frames = [
        store.frame(_bindings(rest, port=port, protocol=protocol), params),
        store.frame(_flows(rest, port=port, protocol=protocol), params),
    ]
    frame = pl.concat([_typed(each) for each in frames], how="vertical")
    rank = pl.col("kind").replace_strict({"binding": 0, "block": 1, "flow": 2, "own": 3})
    order = frame.with_columns(rank=rank).sort(
        *("is_exact", "rank", "began_at", "journal_segment", "journal_offset"),
        descending=[True, False, True, False, False],
    )
    return Evidence(order.drop("rank"), address, port, at)


def _bounds(at: datetime | Period) -> tuple[int, int]:
    """Return the first and the last millisecond that are asked about."""
    if isinstance(at, Period):
        return at.start_ms, at.end_ms - 1
    if at.tzinfo is None:
        raise UsageError("a moment needs a zone")
    moment = round(at.timestamp() * 1_000)
    return moment, moment


def _mapped(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        raise UsageError(f"{address!r} is no address; write one like 203.0.113.7") from None
    return f"::ffff:{found}" if found.version == 4 else str(found)


def _text(column: str) -> str:
    return Dimension("", "", (), Shape.ADDRESS).shown_sql(column)


_WINDOW = (
    "received_at >= fromUnixTimestamp64Milli({first_ms:Int64} - {before_ms:Int64}, 'UTC') AND "
    "received_at <= fromUnixTimestamp64Milli({last_ms:Int64} + {late_ms:Int64}, 'UTC')"
)


def _bindings(rest: Sequence[str], *, port: int | None, protocol: int | None) -> str:
    """Return the query for translations and port blocks, each with the event that ended it."""
    where = ["nat_src_addr = {addr:IPv6}", _WINDOW, *rest]
    where.append("nat_event IN ({begins:Array(UInt8)}) OR nat_event IN ({ends:Array(UInt8)})")
    where[-1] = f"({where[-1]})"
    if port is not None:
        # A block without its end is of a size; a step leaves ports out.
        last = (
            "if(port_block_end > 0, port_block_end, "
            "toUInt16(port_block_start + greatest(port_block_size, 1) - 1))"
        )
        within = (
            f"port_block_start > 0 AND {{port:UInt16}} BETWEEN port_block_start AND {last} AND "
            "modulo({port:UInt16} - port_block_start, greatest(port_block_step, 1)) = 0"
        )
        where.append(f"(nat_src_port = {{port:UInt16}} OR ({within}))")
    if protocol is not None:
        where.append("(protocol = {protocol:UInt8} OR protocol = 0)")
    what = "src_addr, src_port, nat_src_port, protocol, port_block_start, exporter_addr"
    # An end closes the last beginning of the same translation.
    ends = (
        "minIf(event_at, nat_event IN ({ends:Array(UInt8)})) OVER (PARTITION BY "
        f"{what} ORDER BY event_at, nat_event IN ({{ends:Array(UInt8)}}) "
        "ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING)"
    )
    began = "toUnixTimestamp64Milli(event_at)"
    ended = "toUnixTimestamp64Milli(closing)"
    return (
        "SELECT if(port_block_start > 0, 'block', 'binding') AS kind, "
        f"{_text('src_addr')} AS holder, toInt64(src_port) AS holder_port, "
        f"{_text('nat_src_addr')} AS outside, toInt64(nat_src_port) AS outside_port, "
        f"toInt64(protocol) AS proto, {_text('dst_addr')} AS remote, "
        f"toInt64(dst_port) AS remote_port, {began} AS began_ms, "
        f"if(closing <= toDateTime64(0, 3, 'UTC'), NULL, {ended}) AS ended_ms, "
        f"({began} <= {{last_ms:Int64}} AND (closing <= toDateTime64(0, 3, 'UTC') OR "
        f"{ended} >= {{first_ms:Int64}})) AS exact, "
        f"{_text('exporter_addr')} AS exporter, journal_segment AS segment, "
        "journal_offset AS place "
        f"FROM (SELECT *, {ends} AS closing FROM {NAT_EVENTS.name} WHERE {' AND '.join(where)}) "
        "WHERE nat_event IN ({begins:Array(UInt8)}) AND event_at <= "
        "fromUnixTimestamp64Milli({last_ms:Int64} + {around_ms:Int64}, 'UTC') "
        f"ORDER BY exact DESC, event_at DESC, segment, place LIMIT {ROWS_MAX:d}"
    )


def _flows(rest: Sequence[str], *, port: int | None, protocol: int | None) -> str:
    """Return the query for flows that carried the address at the time."""
    ends = {
        "flow_out": ("nat_src_addr", "nat_src_port", "src_addr", "src_port", "dst"),
        "flow_in": ("dst_addr", "dst_port", "nat_dst_addr", "nat_dst_port", "src"),
        "own_out": ("src_addr", "src_port", "src_addr", "src_port", "dst"),
        "own_in": ("dst_addr", "dst_port", "dst_addr", "dst_port", "src"),
    }
    is_own = "local_addr = {addr:IPv6}"
    extra = {"flow_in": f"nat_dst_addr != {NONE}", "own_out": is_own, "own_in": is_own}
    queries = []
    for name, (outside, outside_port, holder, holder_port, far) in ends.items():
        where = [f"{outside} = {{addr:IPv6}}", _WINDOW, *rest]
        where += [extra[name]] if name in extra else []
        if port is not None:
            where.append(f"{outside_port} = {{port:UInt16}}")
        if protocol is not None:
            where.append("protocol = {protocol:UInt8}")
        began, ended = (f"toUnixTimestamp64Milli({each})" for each in ("started_at", "ended_at"))
        where.append(f"{began} <= {{last_ms:Int64}} + {{around_ms:Int64}}")
        where.append(f"{ended} >= {{first_ms:Int64}} - {{around_ms:Int64}}")
        queries.append(
            f"SELECT '{name[: name.index('_')]}' AS kind, {_text(holder)} AS holder, "
            f"toInt64({holder_port}) AS holder_port, {_text(outside)} AS outside, "
            f"toInt64({outside_port}) AS outside_port, toInt64(protocol) AS proto, "
            f"{_text(f'{far}_addr')} AS remote, toInt64({far}_port) AS remote_port, "
            f"{began} AS began_ms, toNullable({ended}) AS ended_ms, "
            f"({began} <= {{last_ms:Int64}} AND {ended} >= {{first_ms:Int64}}) AS exact, "
            f"{_text('exporter_addr')} AS exporter, journal_segment AS segment, "
            f"journal_offset AS place FROM {FLOWS.name} WHERE {' AND '.join(where)} "
            f"ORDER BY exact DESC, began_ms DESC, segment, place LIMIT {ROWS_MAX:d}"
        )
    return " UNION ALL ".join(f"SELECT * FROM ({each})" for each in queries)


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    moment = pl.Datetime("ms", "UTC")
    texts = ("kind", "holder", "outside", "remote", "exporter")
    return frame.select(
        pl.col("kind", "holder").cast(pl.String),
        pl.col("holder_port").cast(pl.Int64),
        pl.col("outside").cast(pl.String),
        pl.col("outside_port").cast(pl.Int64),
        pl.col("proto").cast(pl.Int64).alias("protocol"),
        pl.col("remote").cast(pl.String),
        pl.col("remote_port").cast(pl.Int64),
        pl.col("began_ms").cast(pl.Int64).cast(moment).alias("began_at"),
        pl.col("ended_ms").cast(pl.Int64).cast(moment).alias("ended_at"),
        (pl.col("exact").cast(pl.Int64) != 0).alias("is_exact"),
        pl.col(texts[-1]).cast(pl.String),
        pl.col("segment").cast(pl.UInt64).alias("journal_segment"),
        pl.col("place").cast(pl.UInt64).alias("journal_offset"),
    )
