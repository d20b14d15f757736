"""The sequence of one stream where it does not simply run on: gaps, late datagrams, restarts.

Positions are kept unwrapped: the lower 32 bits are the sequence on the wire, so that gaps stay in
order across the wrap. A datagram that fits neither ahead of the stream nor into an open gap is
only a candidate for a restart. The next one decides: if it continues the candidate the exporter
has restarted, if it continues the stream the candidate was a stray. One spoofed or very late
datagram can therefore neither make a loss of billions nor hide one.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from collector.ledger.config import NS_PER_SECOND, LedgerConfig
from collector.ledger.tally import Tally
from collector.ledger.waiting import WaitingBook

_MASK: Final = 0xFFFF_FFFF
_HALF: Final = 0x8000_0000
_BEYOND: Final = float("inf")


class Gap(NamedTuple):
    """Missing units from ``start`` to before ``end``."""

    start: int
    end: int
    opened_ns: int
    minute: int
    account: int  # Of the waiting sets that it is booked with; 0 for a plain gap.


class Step(NamedTuple):
    """What the sequence needs of one datagram; ``units`` is -n when n of its sets wait."""

    sequence: int
    units: int
    uptime_ms: int
    received_ns: int
    minute: int
    settled: int = 0  # Records of its waiting sets that have been decoded since.

    @property
    def advance(self) -> int:
        """How far it advances the sequence, as far as is known."""
        return max(self.units, 0)


@dataclass(frozen=True, slots=True)
class Books:
    """Where a track books what it finds."""

    config: LedgerConfig
    tally: Tally
    waiting: WaitingBook


class Track:
    """One stream. ``step`` takes its datagrams in the order of arrival."""

    __slots__ = (
        "_books",
        "candidate",
        "gaps",
        "head_ns",
        "head_uptime_ms",
        "next",
        "stream",
        "tail",
    )

    def __init__(self, stream: int, books: Books) -> None:
        self._books = books
        self.stream = stream
        self.next = -1  # Where the next datagram in order starts; -1 before the first one.
        self.head_uptime_ms = -1
        self.head_ns = 0
        self.gaps: list[Gap] = []
        self.candidate: Step | None = None
        self.tail: Step | None = None  # The head, when it has waiting sets.

    @property
    def is_plain(self) -> bool:
        """Whether the next datagram in order needs no step."""
        return self.candidate is None and self.tail is None and self.next >= 0

    def step(self, step: Step) -> bool:
        """Take one datagram; True when it is now the head, the foremost one of the stream."""
        if self.next < 0:
            # One turn above zero, so that a late datagram never lies below it.
            self._lead(step, _MASK + 1 + step.sequence)
            return True
        if not self._has_fallen(step.uptime_ms, self.head_uptime_ms):
            ahead = _signed(step.sequence - self.next)
            if ahead == 0 and step.units == 0 and self.tail is not None:
                # A template from before the head, or behind one without records: it says nothing.
                self._drop_candidate()
                return False
            if ahead >= 0:
                if self._is_plausible(ahead, step.received_ns - self.head_ns):
                    self._drop_candidate()
                    self._lead(step, self.next + ahead)
                    return True
            elif self._fill(step, self.next + ahead):
                self._drop_candidate()
                return False
        return self._doubt(step)

    def settle(self, sequence: int, *, units: int, sets: int) -> bool:
        """Take what waiting sets of the head or of the candidate held; False when of neither."""
        first = self.candidate
        if first is not None and first.units < 0 and first.sequence == sequence:
            self.candidate = _settled(first, units, sets)
            return True
        tail = self.tail
        if tail is None or tail.sequence != sequence:
            return False
        waiting = self._books.waiting
        waiting.settle(self.stream, tail.minute, sequence, units=units, sets=sets)
        tail = _settled(tail, units, sets)
        if tail.units < 0:
            self.tail = tail
        else:
            self.tail = None
            self.next += tail.units
            waiting.close_end(self.stream, tail.minute, tail.units)
        return True

    def forget_old(self, now_ns: int) -> None:
        """Drop the gaps that no late datagram can fill any more."""
        oldest_ns = now_ns - self._books.config.window_ns
        kept = 0
        while kept < len(self.gaps) and self.gaps[kept].opened_ns < oldest_ns:
            kept += 1
        del self.gaps[:kept]

    def _lead(self, step: Step, start: int) -> None:
        missing = start - self.next if self.next >= 0 else 0
        if self.tail is not None:
            minute = self.tail.minute
            account = self._books.waiting.number(self.stream, minute)
            self._books.waiting.close_end(self.stream, minute, missing)
            if missing:
                self._open_gap(self.next, start, step, minute=minute, account=account)
        elif missing:
            self._books.tally.add("gap", self.stream, step.minute, missing)
            self._open_gap(self.next, start, step, minute=step.minute, account=0)
        self._become_head(step, start + step.advance)

    def _become_head(self, step: Step, following: int) -> None:
        self.next = following
        self.head_uptime_ms = step.uptime_ms
        self.head_ns = step.received_ns
        self.tail = None
        if step.units < 0:
            self.tail = step
            waiting = self._books.waiting
            waiting.open(self.stream, step.minute, sets=-step.units, has_open_end=True)
            waiting.add(self.stream, step.minute, -step.settled)

    def _open_gap(self, start: int, end: int, step: Step, *, minute: int, account: int) -> None:
        self.gaps.append(Gap(start, end, step.received_ns, minute, account))
        if len(self.gaps) > self._books.config.open_gaps_per_stream_max:
            del self.gaps[0]

    def _fill(self, step: Step, start: int) -> bool:
        """Put a late datagram into its gap; False when it has none."""
        books = self._books
        if step.units == 0:
            # It fills nothing; but a template is sent with the sequence of the data behind it.
            if self.next - start > books.config.jump_units_max:
                return False
            books.tally.add("reordered", self.stream, step.minute, 1)
            return True
        place = bisect_right(self.gaps, (start, _BEYOND)) - 1
        if place < 0:
            return False
        gap = self.gaps[place]
        end = start + step.units if step.units > 0 else gap.end
        is_open = step.received_ns - gap.opened_ns <= books.config.window_ns
        if start >= gap.end or end > gap.end or not is_open:
            return False
        pieces = [gap._replace(end=start), gap._replace(start=end)]
        self._book(gap, start - end)
        if step.units < 0:
            # From here to the end of the gap nothing is certain before its template comes.
            books.waiting.open(self.stream, step.minute, sets=-step.units, has_open_end=False)
            books.waiting.add(self.stream, step.minute, end - start)
            account = books.waiting.number(self.stream, step.minute)
            pieces[1] = gap._replace(start=start, minute=step.minute, account=account)
        self.gaps[place : place + 1] = [piece for piece in pieces if piece.start < piece.end]
        books.tally.add("reordered", self.stream, step.minute, 1)
        return True

    def _book(self, gap: Gap, units: int) -> None:
        waiting = self._books.waiting
        if gap.account and gap.account == waiting.number(self.stream, gap.minute):
            waiting.add(self.stream, gap.minute, units)
        else:
            self._books.tally.add("gap", self.stream, gap.minute, units)

    def _doubt(self, step: Step) -> bool:
        """Take a datagram that does not fit the stream."""
        first = self.candidate
        if first is not None and not self._has_fallen(step.uptime_ms, first.uptime_ms):
            ahead = _signed(step.sequence - first.sequence - first.advance)
            if ahead >= 0:
                if self._is_plausible(ahead, step.received_ns - first.received_ns):
                    self._restart(first)
                    self._lead(step, self.next + ahead)
                    return True
            else:
                # The first two after a restart may have changed places.
                between = _signed(first.sequence - step.sequence - step.advance)
                if 0 <= between <= self._books.config.jump_units_max:
                    self._restart_swapped(first, step, between)
                    return False
        self._drop_candidate()
        self.candidate = step
        return False

    def _restart(self, first: Step) -> None:
        books = self._books
        self.candidate = None
        books.tally.add("restarts", self.stream, first.minute, 1)
        if self.tail is not None:
            tail = self.tail
            books.waiting.forsake_end(
                self.stream, tail.minute, tail.sequence, sets=-tail.units, settled=tail.settled
            )
        self.gaps.clear()
        self._become_head(first, _MASK + 1 + first.sequence + first.advance)

    def _restart_swapped(self, first: Step, late: Step, between: int) -> None:
        self._restart(first)
        books = self._books
        end = self.next - first.advance
        account = 0
        if late.units < 0:
            books.waiting.open(self.stream, late.minute, sets=-late.units, has_open_end=False)
            books.waiting.add(self.stream, late.minute, between)
            account = books.waiting.number(self.stream, late.minute)
        else:
            books.tally.add("gap", self.stream, late.minute, between)
        if between:
            self._open_gap(end - between, end, late, minute=late.minute, account=account)
        books.tally.add("reordered", self.stream, late.minute, 1)

    def _drop_candidate(self) -> None:
        stray = self.candidate
        if stray is not None:
            self._books.tally.add("strays", self.stream, stray.minute, 1)
            if stray.units < 0:
                self._books.waiting.orphan(self.stream, stray.sequence, -stray.units)
            self.candidate = None

    def _has_fallen(self, uptime_ms: int, before_ms: int) -> bool:
        return uptime_ms >= 0 and _signed(uptime_ms - before_ms) < -self._books.config.window_ms

    def _is_plausible(self, ahead: int, elapsed_ns: int) -> bool:
        config = self._books.config
        if ahead <= config.jump_units_max:
            return True
        sendable = max(elapsed_ns, 0) * config.units_per_second_max // NS_PER_SECOND
        return ahead <= config.jump_units_max + sendable

    def snapshot(self) -> dict[str, Any]:
        """Return what the state arrays do not hold, as plain values."""
        return {
            "gaps": [list(gap) for gap in self.gaps],
            "candidate": self.candidate and list(self.candidate),
            "tail": self.tail and list(self.tail),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.gaps = [Gap(*gap) for gap in state["gaps"]]
        self.candidate = Step(*state["candidate"]) if state["candidate"] else None
        self.tail = Step(*state["tail"]) if state["tail"] else None


def _settled(step: Step, units: int, sets: int) -> Step:
    settled = step.settled + units
    if step.units + sets < 0:
        return step._replace(units=step.units + sets, settled=settled)
    return step._replace(units=settled, settled=0)


def _signed(difference: int) -> int:
    return ((difference + _HALF) & _MASK) - _HALF
