"""Errors that end a command with one line for the person who ran it."""


class FlowledgerError(Exception):
    """A failure worth one line: it names the thing, the value and the fix. Exit status 1."""

    exit_status = 1

    def lines(self) -> tuple[str, ...]:
        """Return what to print, one mistake a line."""
        return (str(self),)


class UsageError(FlowledgerError):
    """The command was called wrongly. Exit status 2."""

    exit_status = 2
