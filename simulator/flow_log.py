"""Every true flow record, for tests that compare record by record."""

import tempfile
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.faults import Delivery
from simulator.layouts import Layout
from simulator.router import NAMES, Exported, Router, address_index

if TYPE_CHECKING:
    import polars as pl

SPILL_ROWS = 1_000_000
_ABSENT = "::"


class FlowLog:
    """Collects flow records; beyond a million they wait in a temporary folder."""

    def __init__(self, addresses: list[str], subscribers: int) -> None:
        self._addresses = np.array(addresses)
        self._subscribers = subscribers
        self._frames: list[pl.DataFrame] = []
        self._rows = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._spilled: list[Path] = []

    def add(self, router: Router, exported: Exported, delivery: Delivery) -> None:
        """Add the records of one router's datagrams."""
        repeats = np.zeros(len(exported.framed.lengths), np.int64)
        np.add.at(repeats, delivery.index[delivery.is_duplicate], 1)
        first = 0
        for records, values in exported.values:
            datagram = exported.datagram[first : first + len(records)]
            first += len(records)
            self._frames.append(
                self._frame(
                    router,
                    records,
                    values,
                    sent_ns=exported.framed.sent_ns[datagram],
                    is_lost=delivery.is_lost[datagram],
                    repeats=repeats[datagram],
                )
            )
            self._rows += len(records)
        if self._rows > SPILL_ROWS:
            self._spill()

    def _frame(
        self,
        router: Router,
        records: NDArray[Any],
        values: dict[str, Any],
        *,
        sent_ns: NDArray[np.int64],
        is_lost: NDArray[np.bool_],
        repeats: NDArray[np.int64],
    ) -> "pl.DataFrame":
        import polars as pl

        is_ipv6 = bool(records["is_ipv6"][0])
        has_nat = router.kind.has_nat and not is_ipv6
        layout = router.kind.ipv6 if is_ipv6 else router.kind.ipv4
        stamp = pl.Datetime("ms", "UTC")
        apps = [name.decode() for name in NAMES.texts]
        count = len(records)
        columns: dict[str, Any] = {
            "sent_ns": sent_ns,
            "started_at": pl.Series(records["start_ms"]).cast(stamp),
            "ended_at": pl.Series(records["end_ms"]).cast(stamp),
            "exporter_addr": [router.address] * count,
            "exporter_kind": [router.kind.name] * count,
            "flow_version": np.full(count, router.kind.version, np.uint8),
            "observation_domain": np.full(count, router.kind.domain, np.uint32),
            "template_id": np.full(count, layout.template_id if layout else 0, np.uint16),
            "sampling_rate": np.full(count, router.framer.sampling, np.uint32),
            "subscriber_addr": self._addresses[address_index(records, self._subscribers)].tolist(),
            "direction": np.where(records["is_download"] == 1, "download", "upload").tolist(),
            "application": [apps[app] for app in records["app"].tolist()],
            "src_addr": _texts(values["src"]),
            "dst_addr": _texts(values["dst"]),
            "src_port": values["src_port"].astype(np.uint16),
            "dst_port": values["dst_port"].astype(np.uint16),
            "protocol": values["protocol"],
            "octets": records["octets"].copy(),
            "octets_wire": records["octets"] & ((1 << 8 * _octets_width(layout)) - 1),
            "packets": records["packets"].copy(),
            "nat_src_addr": _texts(values["nat_src"]) if has_nat else [_ABSENT] * count,
            "nat_dst_addr": _texts(values["nat_dst"]) if has_nat else [_ABSENT] * count,
        }
        for name in ("nat_src_port", "nat_dst_port"):
            is_told = has_nat and router.kind.version == 9
            ports = values[name] if is_told else np.zeros(count)
            columns[name] = ports.astype(np.uint16)
        columns["is_lost"] = is_lost
        columns["repeats"] = repeats
        return pl.DataFrame(columns)

    def _spill(self) -> None:
        import polars as pl

        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="flowledger-truth-")
        path = Path(self._folder.name) / f"{len(self._spilled)}.arrow"
        pl.concat(self._frames).write_ipc(path)
        self._spilled.append(path)
        self._frames.clear()
        self._rows = 0

    def frame(self) -> "pl.DataFrame":
        """Return all records, in the order in which routers exported them."""
        import polars as pl

        parts = [pl.read_ipc(path) for path in self._spilled]
        return pl.concat([*parts, *self._frames]) if parts or self._frames else pl.DataFrame()

    def write(self, path: Path) -> None:
        """Write all records to a Parquet file, without holding them all in memory."""
        import polars as pl

        if not self._spilled:
            self.frame().write_parquet(path)
            return
        if self._frames:
            self._spill()
        pl.scan_ipc(self._spilled).sink_parquet(path)

    def close(self) -> None:
        """Remove the temporary folder."""
        if self._folder is not None:
            self._folder.cleanup()


def _octets_width(layout: Layout | None) -> int:
    """Return the width of the octet counter on the wire, in octets; at most 7 fit the mask."""
    if layout is None:
        return 4
    width = next(size for _, size, name in layout.fields if name == "octets")
    return min(width, 7)


def _texts(addresses: NDArray[Any]) -> list[str]:
    """Format addresses, each different one once."""
    if addresses.dtype == np.uint32:
        different, place = np.unique(addresses, return_inverse=True)
        texts = [str(IPv4Address(value)) for value in different.tolist()]
    else:
        # Octet strings can be sorted, opaque values cannot; only their trailing zeros would be
        # cut, and the length is known.
        different, place = np.unique(addresses.view("S16"), return_inverse=True)
        texts = [str(IPv6Address(value.ljust(16, b"\0"))) for value in different.tolist()]
    return np.array(texts)[place].tolist()  # type: ignore[no-any-return]  # numpy says Any.
