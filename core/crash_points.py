"""Places where tests have the process killed, to see that nothing is lost or doubled.

For tests only: ``FLOWLEDGER_TEST_CRASH_AT=spool-renamed`` kills the process with SIGKILL when it
gets to that point, ``spool-renamed:3`` when it does so for the third time.
"""

import os
import signal
from functools import cache

from core.config import system_variable

VARIABLE = "FLOWLEDGER_TEST_CRASH_AT"
_passed: dict[str, int] = {}


def crash_point(name: str) -> None:
    """Die here, if a test asks for it."""
    chosen, number = _chosen()
    if name == chosen:
        _passed[name] = _passed.get(name, 0) + 1
        if _passed[name] == number:
            os.kill(os.getpid(), signal.SIGKILL)


@cache
def _chosen() -> tuple[str, int]:
    name, _, number = system_variable(VARIABLE).partition(":")
    return name, int(number or 1)
