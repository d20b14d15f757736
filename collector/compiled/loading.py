"""When the compiled loop is loaded: not before there is work for it, and never in a batch's way.

Loading takes a second or more of processor time, compiling for the first time ten, and 110 MB.
Few flows are decoded sooner without it. So it is loaded by a thread of its own once so many have
come, and until it is there numpy does the work, with the same result.
"""

from collections.abc import Callable
from importlib import import_module
from threading import Lock, Thread
from typing import Any

from core.log import get_logger

log = get_logger(__name__)

AFTER_FLOWS = 50_000_000  # What pays for loading: 40 ns a flow are saved, 2 s are spent.
Loop = Callable[..., int]


class _Loading:
    """What this process has loaded so far."""

    def __init__(self) -> None:
        self.loop: Loop | None = None
        self.flows = 0
        self.is_begun = False
        self.lock = Lock()


_state = _Loading()


def loop(flows: int) -> Loop | None:
    """Return the loop if it is there; ``flows`` are about to be decoded, and count towards it."""
    if _state.loop is None and not _state.is_begun:
        _state.flows += flows
        if _state.flows >= AFTER_FLOWS:
            _state.is_begun = True
            # It is waited for at the end of the process: a compiler cannot be stopped half way.
            Thread(target=load, name="load-compiled").start()
    return _state.loop


def load() -> bool:
    """Load the loop now; False where that cannot be done, and numpy goes on."""
    with _state.lock:
        _state.is_begun = True
        if _state.loop is None:
            try:
                records: Any = import_module("collector.compiled.records")
            except Exception as error:  # noqa: BLE001  # Whatever a compiler may fail with.
                log.warning("compiled loop cannot be loaded", error=repr(error))
                return False
            _state.loop = records.run_records
    return True


def unload() -> None:
    """Go on with numpy, and do not load by oneself: for comparing both."""
    with _state.lock:
        _state.loop, _state.is_begun = None, True
