"""What was decoded and what was wrong, counted up batch by batch and told in a few lines."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from collector.decoded import Decoded, Problem, Reason
from collector.sources import HARMLESS, Source

PROBLEMS_SHOWN = 20
_GAP_UNITS = {1: "flows (NetFlow v5)", 2: "datagrams (NetFlow v9)", 3: "records (IPFIX)"}
_DROPS = ("dropped_kernel", "dropped_journal", "refused", "truncated")


@dataclass(slots=True)
class Summary:
    """Counts over all batches."""

    flows: int = 0
    nat_events: int = 0
    options: int = 0
    other_records: int = 0
    health: dict[str, int] = field(default_factory=dict)
    gaps: dict[int, int] = field(default_factory=dict)
    problems: dict[tuple[Reason, str], Problem] = field(default_factory=dict)

    def add(self, decoded: Decoded) -> None:
        """Count one batch."""
        self.flows += len(decoded.flows)
        self.nat_events += len(decoded.nat_events)
        self.options += len(decoded.options)
        self.other_records += decoded.other_records
        health = decoded.health
        for name, values in health.items():
            if values.dtype.kind == "i" and name != "minute_at":
                self.health[name] = self.health.get(name, 0) + int(values.sum())
        if "gap_unit" in health:
            for unit in _GAP_UNITS:
                gap = int(health["gap"][health["gap_unit"] == unit].sum())
                self.gaps[unit] = self.gaps.get(unit, 0) + gap
        for problem in decoded.problems:
            key = (problem.reason, problem.exporter)
            before = self.problems.get(key)
            if before is None:
                self.problems[key] = problem
            else:
                count = before.count + problem.count
                self.problems[key] = Problem(
                    before.reason,
                    before.exporter,
                    count,
                    before.segment,
                    before.offset,
                    before.octet,
                    before.detail,
                )

    def lines(self, sources: Sequence[Source], seconds: float) -> list[str]:
        """Return the summary, the problems behind it."""
        first = (
            f"decoded {self._datagrams('datagrams')} in {seconds:.2f} s: "
            f"{self.flows:,} flows, {self.nat_events:,} NAT events, "
            f"{self.options:,} options records, {self._count('templates')} templates, "
            f"{self.other_records:,} other records"
        )
        return [
            first,
            *self._losses(),
            *self._found_in(sources),
            *self._problem_lines(sources),
        ]

    def _count(self, name: str) -> str:
        return f"{self.health.get(name, 0):,}"

    def _datagrams(self, name: str) -> str:
        return f"{self._count(name)} datagram{'' if self.health.get(name) == 1 else 's'}"

    def _losses(self) -> list[str]:
        lines = [
            f"lost on the way: {gap:,} {_GAP_UNITS[unit]}" for unit, gap in self.gaps.items() if gap
        ]
        drops = [name for name in _DROPS if self.health.get(name)]
        lines += [f"lost at the receiver: {self._count(name)} {name}" for name in drops]
        if self.health.get("duplicates"):
            lines.append(f"dropped as exact duplicates: {self._datagrams('duplicates')}")
        if self.health.get("expired_sets"):
            lines.append(f"without a template to the end: {self._count('expired_sets')} data sets")
        return lines

    def _found_in(self, sources: Sequence[Source]) -> list[str]:
        lines = []
        for source in sources:
            for kind, count in sorted(source.oddities.counts.items()):
                word = "left out" if kind in HARMLESS else "problem"
                where = source.oddities.first[kind]
                lines.append(f"{word}: {source.name}: {count:,} x {kind}, first at {where}")
        return lines

    def _problem_lines(self, sources: Sequence[Source]) -> list[str]:
        problems = sorted(self.problems.values(), key=lambda problem: -problem.count)
        lines = []
        for problem in problems[:PROBLEMS_SHOWN]:
            where = _place(problem, sources)
            detail = f" ({problem.detail})" if problem.detail else ""
            lines.append(
                f"problem: {problem.exporter}: {problem.count:,} x {problem.reason}, "
                f"first at {where} octet {problem.octet}{detail}"
            )
        if len(problems) > PROBLEMS_SHOWN:
            lines.append(f"problem: {len(problems) - PROBLEMS_SHOWN:,} more kinds are not shown")
        return lines


def _place(problem: Problem, sources: Sequence[Source]) -> str:
    position = (problem.segment, problem.offset)
    for number, source in enumerate(sources):
        # A file has its number on the command line for a segment; a journal has real ones.
        if number == problem.segment and not source.is_journal:
            return source.place(position)
    journals = [source for source in sources if source.is_journal]
    return journals[0].place(position) if journals else f"datagram {problem.offset}"
