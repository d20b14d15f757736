"""A journal of a simulated ISP, and what its subscribers really moved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from core.directions import LABELS
from simulator.isp import Isp
from simulator.profile import Profile
from storage.clickhouse.client import Store
from storage.clickhouse.errors import StoreDeniedError, StoreRefusedError
from storage.clickhouse.migrations import check
from tests.support.journals import write_journal

OURS = '["100.64.0.0/10", "198.18.0.0/15", "203.0.113.0/24", "2001:db8::/32"]'
SETTINGS = f"""
[pipeline]
networks = {OURS}
batch_rows_max = 500
retry_max = "300ms"
"""
DURATION_S = 400
NS_PER_S = 1_000_000_000
_NO_TABLES = {60, 81}  # UNKNOWN_TABLE, UNKNOWN_DATABASE
KEYS = ["address", "direction", "bin_at"]


@dataclass
class Traffic:
    """A journal, and the truth about it."""

    data: Path
    settings: Path
    datagrams: int
    usage: pl.DataFrame

    def is_done(self, store: Store) -> bool:
        """Say whether every datagram is in the ledger of the store, and no batch waits."""
        try:
            is_loaded = self.loaded(store) >= self.datagrams
            return is_loaded and not any((self.data / "spool").glob("0*"))
        except StoreRefusedError as error:
            if error.code not in _NO_TABLES:
                raise
            return False

    @staticmethod
    def loaded(store: Store) -> int:
        return int(store.rows("SELECT sum(datagrams) FROM exporter_health")[0][0])

    @staticmethod
    def has_tables(store: Store) -> bool:
        """Say whether the tables are there, as this version wants them."""
        try:
            check(store)
        except StoreDeniedError:
            return False
        return True

    def check(self, store: Store, *, by_bin: bool = True) -> None:
        """Compare the store with the truth, in each bin or over all time."""
        assert self.loaded(store) == self.datagrams
        for table in ("rollup_5m", "rollup_1h"):
            every = "5 MINUTE" if table == "rollup_5m" else "1 HOUR"
            found = store.frame(
                "SELECT local_addr::String AS address, direction, "
                "toUnixTimestamp(bin_at) AS bin_at, "
                "sum(octets)::Int64 AS octets, sum(packets)::Int64 AS packets "
                f"FROM {table} WHERE direction IN (1, 2) "
                "GROUP BY ALL HAVING octets != 0 OR packets != 0"
            )
            shown = found.with_columns(
                pl.col("address").str.strip_prefix("::ffff:"),
                pl.col("direction").replace_strict(dict(enumerate(LABELS)), return_dtype=pl.String),
                (pl.col("bin_at").cast(pl.Int64) * 1_000).cast(pl.Datetime("ms", "UTC")),
            )
            told = self.usage.with_columns(
                pl.col("bin_at").dt.truncate("5m" if "MINUTE" in every else "1h")
            )
            keys = KEYS if by_bin else KEYS[:2]
            shown, told = (
                each.group_by(keys).agg(pl.col("octets", "packets").sum()).sort(keys)
                for each in (shown, told)
            )
            assert_frame_equal(shown, told)
        rows = store.rows("SELECT count(), uniqExact(journal_segment, journal_offset) FROM flows")
        records = int(store.rows("SELECT sum(flows) FROM exporter_health")[0][0])
        assert rows[0][0] == records == store.rows("SELECT sum(flows) FROM rollup_1h")[0][0]


def write_traffic(folder: Path, jumps_s: Sequence[int] = ()) -> Traffic:
    """Write the journal of an evening, and settings to read it by.

    Our clock jumps from one offset to the next while datagrams come.
    """
    start = datetime.now(UTC).replace(minute=57, second=0, microsecond=0) - timedelta(hours=5)
    profile = Profile(
        subscribers=150,
        start_ms=int(start.timestamp() * 1_000),
        # Their stamps are exact from the first datagram on, whatever is decoded again.
        versions=("v5", "v9"),
    )
    isp = Isp(profile, 5)
    every_ns = DURATION_S * NS_PER_S // max(len(jumps_s), 1)
    offsets_ns = np.array(jumps_s or [0], np.int64) * NS_PER_S

    def received_ns(sent_ns: np.ndarray) -> np.ndarray:
        turn = (sent_ns - profile.start_ms * 1_000_000) // every_ns
        return sent_ns + offsets_ns[np.clip(turn, 0, len(offsets_ns) - 1)]

    datagrams = write_journal(folder, isp, DURATION_S, received_ns)
    settings = folder / "flowledger.toml"
    settings.write_text(SETTINGS)
    usage = isp.truth.usage().filter((pl.col("octets") != 0) | (pl.col("packets") != 0))
    return Traffic(folder, settings, datagrams, usage)
