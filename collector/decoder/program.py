"""Programs of the compiled loop: what ``collector.compiled.records`` does for each plan.

Most plans have one. Records of variable length, two-way records and events go by way of
``collector.decoder.fill``, which does the same with numpy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.compiled import words
from collector.decoder.plan import Clock, Place, Plan, RecordKind, Stamp
from core.schema import FLOWS, Kind

_CLOCKS = {
    Clock.UPTIME: words.UPTIME,
    Clock.MILLISECONDS: words.MILLISECONDS,
    Clock.SECONDS: words.SECONDS,
    Clock.MICROSECONDS: words.NTP,
    Clock.NANOSECONDS: words.NTP,
    Clock.DELTA: words.DELTA,
}
_POWERS = (1, 2, 4, 8)
_FAST = frozenset({0x11, 0x12, 0x22, 0x24, 0x44, 0x48, 0x88})
_KEPT_MAX = 1_024
ICMP_COLUMNS = ("icmp_type", "icmp_code")
TIME_COLUMNS = ("started_at", "ended_at")


@dataclass(frozen=True, slots=True)
class Step:
    """One field on its way: from where in a record, to which column."""

    op: int
    column: str
    source: int
    width: int
    second: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """The steps of one plan; which address columns are narrow is told later."""

    steps: tuple[Step, ...]
    times: NDArray[np.int64]
    columns: frozenset[str]  # That it writes in every row.

    def table(self, offsets: dict[str, int], narrow: frozenset[str]) -> NDArray[np.int64]:
        """Return the kernel's table, for columns that begin at these offsets."""
        rows = []
        for step in self.steps:
            op, width = step.op, _WIDTHS[step.column]
            third = 0
            if op == words.MAPPED and step.column in narrow:
                op, width = words.NARROW, 4
            elif op == words.ICMP_PORT:
                third = offsets["icmp_code"]
            target = offsets[step.column]
            rows.append((op, step.source, step.width, target, width, step.second, third))
        return np.array(rows, np.int64).reshape(-1, words.STEP_SIZE)


_WIDTHS = {column.name: np.dtype(column.kind.numpy_code).itemsize for column in FLOWS.columns}


class Programs:
    """Programs by plan; a plan is compiled once, like its template."""

    def __init__(self) -> None:
        # The plan is kept, so that no other one can get its id.
        self._known: dict[int, tuple[Plan, Program | None]] = {}

    def of(self, plan: Plan) -> Program | None:
        """Return the program of a plan; None where it has none."""
        known = self._known.get(id(plan))
        if known is None:
            if len(self._known) >= _KEPT_MAX:
                self._known.clear()
            known = self._known[id(plan)] = (plan, compile_program(plan))
        return known[1]


def compile_program(plan: Plan) -> Program | None:
    """Compile a plan of records that have one length and go one way."""
    is_plain = plan.reverse is None and plan.event is None
    if plan.kind is not RecordKind.FLOW or not plan.is_fixed or not is_plain:
        return None
    steps = []
    for name, place in plan.numbers.items():
        if FLOWS.by_name[name].kind is Kind.IP:
            return None
        steps.append(_number(name, place))
        steps += [
            Step(words.OTHER_NUMBER, name, other.offset, other.width)
            for other in plan.alternates.get(name, ())
        ]
    for address in plan.addresses:
        ipv4, ipv6 = address.ipv4, address.ipv6
        if ipv4 is not None and ipv6 is not None:
            steps.append(Step(words.EITHER, address.column, ipv4.offset, 4, ipv6.offset))
        elif ipv4 is not None:
            steps.append(Step(words.MAPPED, address.column, ipv4.offset, 4))
        elif ipv6 is not None:
            steps.append(Step(words.WIDE, address.column, ipv6.offset, 16))
    if plan.icmp is not None:
        steps.append(Step(0x11, "icmp_type", plan.icmp.offset, 1))
        steps.append(Step(0x11, "icmp_code", plan.icmp.offset + 1, 1))
    elif "icmp_type" not in plan.numbers and {"protocol", "dst_port"} <= plan.numbers.keys():
        port, protocol = plan.numbers["dst_port"], plan.numbers["protocol"]
        if protocol.width != 1 or port.width != 2:
            return None
        steps.append(Step(words.ICMP_PORT, "icmp_type", port.offset, port.width, protocol.offset))
    written = {step.column for step in steps} | set(TIME_COLUMNS)
    if "icmp_type" in written:
        written |= set(ICMP_COLUMNS)
    return Program(tuple(steps), _times(plan), frozenset(written))


def _number(name: str, place: Place) -> Step:
    op = 16 * place.width + _WIDTHS[name]
    if place.width not in _POWERS or op not in _FAST:
        op = words.ANY_NUMBER
    return Step(op, name, place.offset, place.width)


def _times(plan: Plan) -> NDArray[np.int64]:
    times = np.zeros(words.TIMES_SIZE, np.int64)
    plans: tuple[tuple[int, Stamp | None], ...] = (
        (words.START, plan.times.start),
        (words.END, plan.times.end),
        (words.EVENT, plan.times.event),
    )
    for which, stamp in plans:
        if stamp is not None:
            times[which : which + 3] = (
                _CLOCKS[stamp.clock],
                stamp.place.offset,
                stamp.place.width,
            )
    times[words.DURATION] = times[words.BOOT] = -1
    times[words.DIVISOR] = plan.times.duration_divisor
    for which, place in ((words.DURATION, plan.times.duration), (words.BOOT, plan.times.boot)):
        if place is not None:
            times[which] = place.offset
    if plan.times.duration is not None:
        times[words.DURATION_WIDTH] = plan.times.duration.width
    if plan.times.boot is not None:
        times[words.BOOT_WIDTH] = plan.times.boot.width
    return times
