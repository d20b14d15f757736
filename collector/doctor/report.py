"""What the doctor hands over: the exporters, and what is seen only across them."""

from dataclasses import dataclass, field

from collector.doctor.facts import Exporter
from collector.doctor.sample import Overlap


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in the time from ``started_ms`` to ``ended_ms``."""

    exporters: tuple[Exporter, ...]  # By address, version, domain.
    overlaps: tuple[Overlap, ...] = ()  # Between numbers in ``exporters``.
    # Datagrams dropped on our side, by exporter and cause; "" for those nobody can tell.
    drops: dict[str, dict[str, int]] = field(default_factory=dict)
    started_ms: int = 0
    ended_ms: int = 0
    unexamined: int = 0  # Datagrams of streams beyond the limit.

    @property
    def window_s(self) -> float:
        """Return the length of the time looked at."""
        return max((self.ended_ms - self.started_ms) / 1000, 1.0)

    def dropped(self, cause: str) -> int:
        """Return the datagrams of all exporters dropped on our side by a cause."""
        return sum(counts.get(cause, 0) for counts in self.drops.values())
