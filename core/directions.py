"""Which way a flow went, as seen from the addresses that are ours."""

from enum import IntEnum, unique


@unique
class Direction(IntEnum):
    """The number in the column ``direction``; the name is what people write and read."""

    UNKNOWN = 0
    DOWNLOAD = 1  # The destination is ours.
    UPLOAD = 2  # The source is ours.
    INTERNAL = 3  # Both are; the local end is the source.
    TRANSIT = 4  # Neither is; there is no local end.

    @property
    def label(self) -> str:
        """The name in lower case."""
        return self.name.lower()


LABELS = tuple(each.label for each in Direction)


def parse_direction(label: str) -> Direction:
    """Return the direction of that name. Raises ValueError that lists the names."""
    try:
        return Direction(LABELS.index(label.lower()))
    except ValueError:
        raise ValueError(f"{label!r} is no direction; write one of {', '.join(LABELS)}") from None
