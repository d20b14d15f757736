"""One row of the table of results: what was asked, what was reached, and what the peer did."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A figure with its peer's; rates unless ``is_limit``, then it must stay below.

    ``reached`` and ``peer`` hold every repeat. ``asked`` is a number in ``unit``; where it depends
    on the peer it is worked out in the benchmark.
    """

    name: str
    what: str
    unit: str
    asked: float | None  # None: for information.
    reached: list[float]
    peer_name: str = ""
    peer: list[float] = field(default_factory=list)
    is_limit: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    profile: list[tuple[str, float, float]] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)
