"""What the datagrams themselves tell of each stream: when, from which ports, by which clock."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.compiled.words import FUTURE_MS, PAST_MS
from collector.datagrams import Datagrams
from collector.decoder.headers import V1, Headers
from collector.doctor.tallies import Tallies

MS: Final = 1_000_000
YEAR_2000_MS: Final = 946_684_800_000  # No router that knows the time exports before.
PORTS_MAX: Final = 64  # Source ports remembered for one stream.
_FAR: Final = 2**62


class Arrivals:
    """Tallies of the datagrams of each stream."""

    def __init__(self) -> None:
        self.counts = Tallies(
            dict.fromkeys(
                (
                    *("datagrams", "octets", "timed", "clockless"),
                    *("offset_sum_ms", "switches", "switches_back", "steps", "steps_back"),
                ),
                1,
            )
        )
        self.last = Tallies(dict.fromkeys(("arrival_ms", "uptime_ms", "offset_ms"), 1), start=-_FAR)
        self.first = Tallies(dict.fromkeys(("arrival_ms", "offset_ms"), 1), start=_FAR)
        self.ports: dict[int, dict[int, int]] = {}

    def add(self, datagrams: Datagrams, headers: Headers, stream: NDArray[np.int32]) -> None:
        """Take a batch; ``stream`` is -1 for what is not examined."""
        kept = np.flatnonzero(stream >= 0)
        if not len(kept):
            return
        of = stream[kept]
        most = int(of.max()) + 1
        for tallies in (self.counts, self.last, self.first):
            tallies.reserve(most)
        received_ms = datagrams.received_ns[kept] // MS
        export_ms = headers.export_ms[kept]
        is_timed = received_ms > 0
        arrival_ms = np.where(is_timed, received_ms, export_ms)
        self.counts.add("datagrams", of)
        self.counts.add("octets", of, datagrams.lengths[kept])
        self.last.raise_to("arrival_ms", of, arrival_ms)
        self.first.lower_to("arrival_ms", of, arrival_ms)
        self._add_clocks(of, received_ms - export_ms, export_ms, is_timed)
        uptime_ms = headers.uptime_ms[kept]
        # The latest, not the greatest: a restart begins again. Later elements overwrite.
        self.last["uptime_ms"][of] = uptime_ms
        port = datagrams.port[kept].astype(np.int64)
        self._add_ports(of, port)
        numbered = headers.version[kept] != V1
        self._add_steps(of[numbered], port[numbered], headers.sequence[kept][numbered])

    def _add_clocks(
        self,
        of: NDArray[np.int32],
        offset_ms: NDArray[np.int64],
        export_ms: NDArray[np.int64],
        is_timed: NDArray[np.bool_],
    ) -> None:
        self.counts.add_where("clockless", of, export_ms < YEAR_2000_MS)
        timed, offset_ms = of[is_timed], offset_ms[is_timed]
        self.counts.add("timed", timed)
        self.counts.add("offset_sum_ms", timed, offset_ms)
        self.first.lower_to("offset_ms", timed, offset_ms)
        self.last.raise_to("offset_ms", timed, offset_ms)

    def _add_ports(self, of: NDArray[np.int32], port: NDArray[np.int64]) -> None:
        pairs, counts = np.unique(of.astype(np.int64) << 16 | port, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            ports = self.ports.setdefault(pair >> 16, {})
            number = pair & 0xFFFF
            if number in ports or len(ports) < PORTS_MAX:
                ports[number] = ports.get(number, 0) + count

    def _add_steps(
        self, of: NDArray[np.int32], port: NDArray[np.int64], sequence: NDArray[np.uint32]
    ) -> None:
        """Count how often the sequence goes back: within a port, and from one to another.

        Two routers behind one address count on their own, so that every second change of port
        goes back; the steps of each port alone do not.
        """
        for is_by_port, steps, back in (
            (False, "switches", "switches_back"),
            (True, "steps", "steps_back"),
        ):
            key = of.astype(np.int64) << 16
            order = np.argsort(key | port if is_by_port else key, kind="stable")
            stream, ports, numbers = of[order], port[order], sequence[order]
            is_pair = stream[1:] == stream[:-1]
            is_pair &= (ports[1:] == ports[:-1]) == is_by_port
            goes_back = (numbers[1:] - numbers[:-1]).view(np.int32) < 0
            self.counts.add_where(steps, stream[1:], is_pair)
            self.counts.add_where(back, stream[1:], is_pair & goes_back)

    def offset_ms(self, stream: NDArray[Any]) -> NDArray[np.int64]:
        """Return what is to be added to a flow's times to have them by our clock.

        0 when unknown, and where the decoder has already put our time for an insane one.
        """
        least = self.first["offset_ms"][stream]
        return np.where((least > PAST_MS) | (least < -FUTURE_MS), 0, least)
