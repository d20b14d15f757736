"""Advice to whoever keeps the routers: what was seen, why it matters, and what mends it."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import total_ordering


@total_ordering
class Severity(StrEnum):
    """How much is at stake; the worst first."""

    WRONG = "wrong"  # Bills made from this would be wrong.
    RISK = "risk"  # They may become wrong, or something is lost now and then.
    HINT = "hint"  # Worth a look.

    def __lt__(self, other: object) -> bool:
        order = list(Severity)
        return order.index(self) < order.index(Severity(str(other)))


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to mend. ``commands`` are RouterOS 7's; ``on_host`` those of the collector's host.

    ``then`` says in words what no command can do, or what to put in the place of ``<...>``.
    """

    rule: str
    severity: Severity
    exporter: str  # Empty for the collector itself.
    seen: str
    why: str
    then: str = ""
    commands: tuple[str, ...] = ()
    commands_v6: tuple[str, ...] = field(default=())  # Only where other words are needed.
    on_host: tuple[str, ...] = ()
    other: str = ""  # The second exporter, where there are two.

    @property
    def for_v6(self) -> tuple[str, ...]:
        """Return the commands as RouterOS 6 wants them."""
        return self.commands_v6 or tuple(map(in_v6_syntax, self.commands))


def in_v6_syntax(command: str) -> str:
    """Write a command with spaces between the menus: ``/ip/traffic-flow/target set``."""
    menu, space, rest = command.partition(" ")
    if not menu.startswith("/"):
        return command
    return re.sub(r"(?<=.)/", " ", menu) + space + rest
