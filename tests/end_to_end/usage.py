"""Adds decoded flows up by subscriber, direction and 5 minutes, as billing will."""

import polars as pl

from simulator.truth import BIN_MS, spread

# What the simulated ISP calls its own: carrier-grade NAT, public, translated, IPv6.
_OURS = r"^(100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|198\.1[89]\.|203\.0\.113\.|2001:db8:)"
KEYS = ("address", "direction", "bin_at")


def attributed(flows: pl.DataFrame) -> pl.DataFrame:
    """Add who sent or received each flow: the address before translation."""
    is_upload = pl.col("src_addr").str.contains(_OURS)
    inside = pl.coalesce("nat_dst_addr", "dst_addr")
    return flows.with_columns(
        pl.when(is_upload).then("src_addr").otherwise(inside).alias("address"),
        pl.when(is_upload).then(pl.lit("upload")).otherwise(pl.lit("download")).alias("direction"),
    )


def usage(flows: pl.DataFrame) -> pl.DataFrame:
    """Return octets and packets, sampling made up for, by address, direction and 5 minutes."""
    flows = attributed(flows)
    start_ms = flows["started_at"].dt.timestamp("ms").to_numpy()
    end_ms = flows["ended_at"].dt.timestamp("ms").to_numpy()
    columns = {}
    for name in ("octets", "packets"):
        amounts = (flows[name] * flows["sampling_rate"]).cast(pl.Int64).to_numpy()
        bins, shares = spread(amounts, start_ms, end_ms)
        columns["bin_at"] = pl.Series(bins.ravel() * BIN_MS).cast(pl.Datetime("ms", "UTC"))
        columns[name] = pl.Series(shares.ravel())
    width = bins.shape[1]
    for name in ("address", "direction"):
        columns[name] = flows[name].gather(pl.int_range(flows.height * width, eager=True) // width)
    rows = pl.DataFrame(columns).filter((pl.col("octets") != 0) | (pl.col("packets") != 0))
    return rows.group_by(KEYS).agg(pl.col("octets", "packets").sum()).sort(KEYS)
