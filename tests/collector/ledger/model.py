"""The ledger's rules once more, slowly: one datagram at a time and one missing unit at a time."""

from collections import Counter
from collections.abc import Sequence

from collector.ledger import LedgerConfig
from tests.collector.ledger.feeding import Arrival, nonzero, payload_of

TURN = 2**32
MINUTE = 60 * 10**9


def distance(a: int, b: int) -> int:
    """From b forward to a, the shorter way round."""
    ahead = (a - b) % TURN
    return ahead if ahead < TURN // 2 else ahead - TURN


class StreamModel:
    def __init__(self, stream: int, config: LedgerConfig, found: Counter) -> None:
        self.stream, self.config, self.found = stream, config, found
        self.next: int | None = None
        self.head: Arrival | None = None
        # Each missing unit: which gap it belongs to, when that was opened, in which minute.
        self.missing: dict[int, tuple[int, int, int]] = {}
        self.gaps = 0
        self.candidate: Arrival | None = None

    def add(self, name: str, received_ns: int, amount: int = 1) -> None:
        self.found[name, self.stream, received_ns // MINUTE] += amount

    def take(self, a: Arrival) -> None:
        if self.head is None:
            self.next, self.head = a.sequence + a.units, a
        elif self.fits(a):
            if self.candidate:
                self.add("strays", self.candidate.received_ns)
                self.candidate = None
        elif not self.restarts(a):
            if self.candidate:
                self.add("strays", self.candidate.received_ns)
            self.candidate = a

    def fits(self, a: Arrival) -> bool:
        if self.fell(a, self.head):
            return False
        ahead = distance(a.sequence, self.next)
        if ahead >= 0:
            if not self.plausible(ahead, a.received_ns - self.head.received_ns):
                return False
            self.lead(a, ahead)
            return True
        if a.units == 0:
            if -ahead > self.config.jump_units_max:
                return False
            self.add("reordered", a.received_ns)
            return True
        places = range(self.next + ahead, self.next + ahead + a.units)
        found = {self.missing.get(place) for place in places}
        if len(found) != 1 or None in found:
            return False
        ((_, opened_ns, minute),) = found
        if a.received_ns - opened_ns > self.config.window_s * 10**9:
            return False
        for place in places:
            del self.missing[place]
        self.found["gap", self.stream, minute] -= a.units
        self.add("reordered", a.received_ns)
        # What is left of the gap on both sides are two gaps from now on.
        self.gaps += 1
        place = places[-1] + 1
        while place in self.missing and self.missing[place] == (*found,)[0]:
            self.missing[place] = (self.gaps, opened_ns, minute)
            place += 1
        return True

    def lead(self, a: Arrival, ahead: int) -> None:
        self.gaps += 1
        for place in range(self.next, self.next + ahead):
            self.missing[place] = (self.gaps, a.received_ns, a.received_ns // MINUTE)
        self.add("gap", a.received_ns, ahead)
        self.next += ahead + a.units
        self.head = a

    def restarts(self, a: Arrival) -> bool:
        first = self.candidate
        if first is None or self.fell(a, first):
            return False
        ahead = distance(a.sequence, first.sequence + first.units)
        between = distance(first.sequence, a.sequence + a.units)
        if ahead >= 0:
            if not self.plausible(ahead, a.received_ns - first.received_ns):
                return False
        elif not 0 <= between <= self.config.jump_units_max:
            return False
        self.add("restarts", first.received_ns)
        self.missing.clear()
        self.candidate = None
        self.next, self.head = first.sequence + first.units + TURN, first
        if ahead >= 0:
            self.lead(a, ahead)
        else:
            self.gaps += 1
            start = self.next - first.units - between
            for place in range(start, start + between):
                self.missing[place] = (self.gaps, a.received_ns, a.received_ns // MINUTE)
            self.add("gap", a.received_ns, between)
            self.add("reordered", a.received_ns)
        return True

    def fell(self, a: Arrival, before: Arrival) -> bool:
        if a.uptime_ms < 0:
            return False
        return distance(a.uptime_ms, before.uptime_ms) < -self.config.window_s * 1000

    def plausible(self, ahead: int, elapsed_ns: int) -> bool:
        sendable = max(elapsed_ns, 0) * self.config.units_per_second_max // 10**9
        return ahead <= self.config.jump_units_max + sendable


def expected(arrivals: Sequence[Arrival], versions: Sequence[int], config: LedgerConfig) -> Counter:
    """What the ledger must find: (column, stream, minute) -> amount."""
    found: Counter = Counter()
    streams = [StreamModel(number, config, found) for number in range(len(versions))]
    seen: dict[tuple[int, int, bytes], int] = {}
    for a in arrivals:
        stream = streams[a.stream]
        payload = a.payload or payload_of(a)
        stream.add("datagrams", a.received_ns)
        stream.add("datagram_octets", a.received_ns, len(payload))
        key = (a.stream, a.sequence, payload)
        last = seen.get(key)
        if versions[a.stream] != 1:
            seen[key] = a.received_ns
            if last is not None and a.received_ns - last <= config.window_s * 10**9:
                stream.add("duplicates", a.received_ns)
                continue
        stream.add("flows", a.received_ns, a.flows)
        stream.add("flow_octets", a.received_ns, a.flow_octets)
        if versions[a.stream] != 1:
            stream.take(a)
    return nonzero(found)
