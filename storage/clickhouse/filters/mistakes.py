"""The mistakes in a filter, each shown where it was made."""

from dataclasses import dataclass

from core.errors import UsageError

_SHOWN = 100  # Characters of the filter's line that are shown around the mistake.


@dataclass(frozen=True, slots=True)
class Span:
    """Where in the text something stands: from ``start`` up to ``end``, counted from 0."""

    start: int
    end: int


class FilterError(UsageError):
    """A filter that cannot be understood. It names the place, and what was expected there."""

    def __init__(self, text: str, at: Span, message: str) -> None:
        before = text[: at.start]
        self.message = message
        self.line = before.count("\n") + 1
        self.column = at.start - (before.rfind("\n") + 1) + 1
        place = f"column {self.column}"
        if "\n" in text.strip("\n"):
            place = f"line {self.line}, {place}"
        super().__init__(f"filter, {place}: {message}")
        self._shown, self._caret = _caret(text.split("\n")[self.line - 1], self.column, at)

    def lines(self) -> tuple[str, ...]:
        """Return the message, the line of the filter, and a caret below the mistake."""
        return (str(self), f"  {self._shown}", f"  {self._caret}")


def _caret(line: str, column: int, at: Span) -> tuple[str, str]:
    """Cut a long line around the mistake; point at it."""
    start = max(0, min(column - 1 - _SHOWN // 2, len(line) - _SHOWN))
    part = "".join(each if each.isprintable() else " " for each in line[start : start + _SHOWN])
    offset = column - 1 - start
    width = max(1, min(at.end - at.start, len(part) - offset))
    return part, " " * offset + "^" * width


def in_words(choices: list[str]) -> str:
    """Join what is possible as a person would say it."""
    if len(choices) < 2:
        return "".join(choices)
    return f"{', '.join(choices[:-1])} or {choices[-1]}"
