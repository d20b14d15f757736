"""Tells a service manager that we are ready, alive or stopping: the sd_notify protocol.

It is one datagram to the Unix socket that ``NOTIFY_SOCKET`` names. Without one nothing is sent. A
name that begins with ``@`` lies in Linux's abstract name space.
"""

import os
import socket
from contextlib import suppress

from core.config import system_variable

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # Not for our children.


class Notifier:
    """Sends states to the service manager, and knows how often it wants to hear of us."""

    __slots__ = ("_address", "interval_s")

    def __init__(self, address: str = "", *, watchdog_usec: int = 0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        # Half of the limit, as sd_watchdog_enabled(3) advises; 0 when nobody asks.
        self.interval_s = watchdog_usec / 2e6

    def send(self, *states: str) -> bool:
        """Send states such as ``READY=1``; say whether somebody took them."""
        if not self._address:
            return False
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            # A manager that does not read must not hold us up.
            sock.settimeout(1.0)
            sock.connect(self._address)
            sock.sendall("\n".join(states).encode())
            return True
        return False


def find_notifier() -> Notifier:
    """Return the notifier of the service manager that started us, or one that says nothing."""
    watchdog, for_pid = system_variable("WATCHDOG_USEC"), system_variable("WATCHDOG_PID")
    is_ours = not for_pid or for_pid == str(os.getpid())
    usec = int(watchdog) if is_ours and watchdog.isascii() and watchdog.isdigit() else 0
    return Notifier(system_variable("NOTIFY_SOCKET"), watchdog_usec=usec)
