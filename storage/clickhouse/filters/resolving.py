"""What turns the names in a filter into numbers and addresses."""

from collections.abc import Sequence
from typing import Protocol


class UnknownNameError(LookupError):
    """A name that stands for nothing; the message says what to do."""


class Resolver(Protocol):
    """Knows exporters, operators, classes and subscribers by their names."""

    def exporter(self, name: str) -> Sequence[str]:
        """Return the addresses of the exporter of this name."""
        ...

    def operator(self, name: str) -> int:
        """Return the number of the operator of this name."""
        ...

    def traffic_class(self, name: str) -> int:
        """Return the number of the class of this name."""
        ...

    def services(self, subscriber: str) -> Sequence[int]:
        """Return the numbers of a subscriber's services."""
        ...


class NoNames:
    """Knows no name; numbers and addresses need none."""

    def exporter(self, name: str) -> Sequence[str]:
        """Refuse."""
        raise UnknownNameError(f"no exporter is named {name!r}; write its address")

    def operator(self, name: str) -> int:
        """Refuse."""
        raise UnknownNameError(f"no operator is named {name!r}; write its number")

    def traffic_class(self, name: str) -> int:
        """Refuse."""
        raise UnknownNameError(f"no class is named {name!r}; write its number")

    def services(self, subscriber: str) -> Sequence[int]:
        """Refuse."""
        raise UnknownNameError(
            f"subscriber {subscriber}: subscribers are not known here yet; write `service NUMBER`"
        )
