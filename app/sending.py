"""What the commands that send datagrams share: their target, signals, progress and totals."""

import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from core.errors import UsageError

if TYPE_CHECKING:
    from simulator.sender import Totals

_SHOW_EVERY_S = 0.5


def parse_target(text: str) -> tuple[str, int]:
    """Read HOST:PORT, where an IPv6 address stands in brackets; return address and port."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise UsageError(f"{text!r} is not HOST:PORT; write for example 127.0.0.1:2055")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise UsageError(f"{text!r} needs brackets around its IPv6 address: [{host}]:{port}")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise UsageError(f"port {port!r} in {text!r} must be a number from 1 to 65535")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"host {host!r} in {text!r} cannot be resolved: {error}") from error
    return str(found[0][4][0]), int(port)


def is_loopback(address: str) -> bool:
    """Say whether an address is of this machine only."""
    return ip_address(address.partition("%")[0]).is_loopback


def warn_if_remote(target: tuple[str, int]) -> None:
    """Say that the flows leave this machine, where somebody may count them as real."""
    if not is_loopback(target[0]):
        print(
            f"warning: {target[0]} is not this machine; its collector takes these flows for real",
            file=sys.stderr,
        )


class Interruption:
    """Ctrl-C or SIGTERM: ends the work at once, but never within a system call that sends.

    Otherwise the datagrams of that call would go uncounted.
    """

    def __init__(self) -> None:
        self.happened = False
        self._is_sending = False

    def on_signal(self, _number: int, _frame: Any) -> None:
        """Stop now, or after the call that is under way."""
        if self._is_sending and not self.happened:
            self.happened = True
            return
        self.happened = True
        raise KeyboardInterrupt

    def spare(self, send: Callable[[], None]) -> None:
        """Call ``send`` and let a signal wait for its end."""
        self._is_sending = True
        try:
            send()
        finally:
            self._is_sending = False
        if self.happened:
            raise KeyboardInterrupt


@contextmanager
def stopped_by_signals(interruption: Interruption) -> Iterator[None]:
    """Leave the block on Ctrl-C or SIGTERM, and go on after it."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interruption.on_signal) for number in numbers]
    try:
        yield
    except KeyboardInterrupt:
        interruption.happened = True
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class Progress:
    """A line on the terminal, rewritten twice a second; nothing where there is no terminal."""

    def __init__(self, totals: "Totals") -> None:
        self._totals = totals
        self._is_shown = sys.stderr.isatty()
        self._started: float | None = None
        self._next = 0.0

    def begin(self) -> None:
        """Start the clock, unless it runs: what comes before the first datagram is no sending."""
        if self._started is None:
            self._started = time.monotonic()
            self._next = self._started + _SHOW_EVERY_S

    def show(self) -> None:
        """Show the totals, when it is time."""
        if not self._is_shown or (now := time.monotonic()) < self._next:
            return
        self._next = now + _SHOW_EVERY_S
        sent = self._totals
        rate = sent.datagrams / (now - (self._started or now) or 1.0)
        trouble = f", refused {sent.refused:,}" if sent.refused else ""
        print(
            f"\r{sent.datagrams:,} datagrams, {sent.octets / 1e6:,.1f} MB, {rate:,.0f}/s{trouble}",
            end="\x1b[K",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        """Leave the line."""
        if self._is_shown:
            print(file=sys.stderr)

    def report(self, interruption: Interruption) -> dict[str, Any]:
        """Return the totals to print."""
        seconds = time.monotonic() - self._started if self._started else 0.0
        rate = round(self._totals.datagrams / seconds) if seconds else 0
        return asdict(self._totals) | {
            "seconds": round(seconds, 3),
            "rate": rate,
            "interrupted": interruption.happened,
        }
