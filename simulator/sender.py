"""Send many datagrams with few system calls, at a chosen pace, and count what the kernel said."""

import ctypes
import errno
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

SLOTS = 1024  # UIO_MAXIOV: the kernel takes no more messages in one call.
SLOT_S = 0.001  # How often a paced sender looks at the clock.
CATCH_UP = 1.5  # A late sender may go this much faster than its rate, never in one burst.
BACKLOG_S = 1.0  # Beyond this a late sender gives up what it is behind.
SEND_BUFFER = 4 << 20
RETRY_WAIT_S = 0.0002
ATTEMPTS_MAX = 10_000  # Two seconds of a full queue, then the datagram counts as failed.

# struct msghdr and struct mmsghdr of 64-bit Linux, where alignment pads after the odd members.
_IOVEC = np.dtype([("base", np.uint64), ("len", np.uint64)])
_MMSGHDR = np.dtype(
    {
        "names": ["name", "name_len", "iov", "iov_len", "control", "control_len", "flags", "len"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)

Octets = NDArray[np.uint8]
Positions = NDArray[np.int64]


@dataclass(slots=True)
class Totals:
    """What was sent, and what the kernel refused on the way."""

    datagrams: int = 0
    octets: int = 0
    calls: int = 0
    refused: int = 0  # ECONNREFUSED: nobody listens; the datagram is sent again.
    congested: int = 0  # EAGAIN or ENOBUFS: waited, then sent again.
    failed: int = 0  # Given up.


class BatchSender:
    """Sockets to one target, one for each exporter, fed from arrays.

    ``sources`` are the local addresses to send from (``None`` lets the kernel choose); each has
    its own socket, so that exporters with one address still differ by port.
    """

    def __init__(
        self,
        target: tuple[str, int],
        *,
        sources: Sequence[str | None] = (None,),
        batch_calls: bool = True,
    ) -> None:
        family, _, _, _, address = socket.getaddrinfo(target[0], target[1], type=socket.SOCK_DGRAM)[
            0
        ]
        self.totals = Totals()
        self._target = family, address
        self._sockets: list[socket.socket] = []
        self._call = _sendmmsg() if batch_calls else None
        self._iov = np.zeros(SLOTS, _IOVEC)
        self._messages = np.zeros(SLOTS, _MMSGHDR)
        self._messages["iov"] = self._iov.ctypes.data + np.arange(SLOTS) * _IOVEC.itemsize
        self._messages["iov_len"] = 1
        try:
            for source in sources:
                self.add_source(source)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def add_source(self, source: str | None = None) -> int:
        """Open one more socket, bound to this address; return its number."""
        self._sockets.append(_open(*self._target, source))
        return len(self._sockets) - 1

    @property
    def ports(self) -> list[int]:
        """Local port of each source, in their order."""
        return [int(sock.getsockname()[1]) for sock in self._sockets]

    def send(
        self,
        octets: Octets,
        starts: Positions,
        lengths: Positions,
        source: NDArray[Any] | int = 0,
    ) -> None:
        """Send payloads ``octets[starts[i] : starts[i] + lengths[i]]`` as fast as they go.

        The order is kept for each source; among sources it is kept from call to call.
        """
        if not isinstance(source, int):
            if len(self._sockets) > 1:
                order = np.argsort(source, kind="stable")
                by_source = source[order]
                cuts = np.flatnonzero(by_source[1:] != by_source[:-1]) + 1
                for part in np.split(order, cuts):
                    if len(part):
                        self._send_from(int(source[part[0]]), octets, starts[part], lengths[part])
                return
            source = 0
        self._send_from(source, octets, starts, lengths)

    def _send_from(
        self, source: int, octets: Octets, starts: Positions, lengths: Positions
    ) -> None:
        sock = self._sockets[source]
        totals = self.totals
        if self._call is None:
            view = octets.data
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                self._send_one(sock, view[start : start + length])
            return
        base = octets.ctypes.data
        descriptor = sock.fileno()
        messages = self._messages.ctypes.data
        for first in range(0, len(starts), SLOTS):
            count = min(SLOTS, len(starts) - first)
            self._iov["base"][:count] = starts[first : first + count] + base
            self._iov["len"][:count] = lengths[first : first + count]
            done = attempts = 0
            while done < count:
                sent = self._call(
                    descriptor,
                    messages + done * _MMSGHDR.itemsize,
                    count - done,
                    socket.MSG_DONTWAIT,
                )
                totals.calls += 1
                if sent > 0:
                    totals.datagrams += sent
                    totals.octets += int(lengths[first + done : first + done + sent].sum())
                    done += sent
                    attempts = 0
                    continue
                attempts += 1
                if not self._refusal(sock, ctypes.get_errno(), attempts):
                    totals.failed += 1
                    done += 1
                    attempts = 0

    def _send_one(self, sock: socket.socket, payload: memoryview) -> None:
        """Send one datagram by the portable call."""
        attempts = 0
        while True:
            self.totals.calls += 1
            try:
                sock.send(payload, getattr(socket, "MSG_DONTWAIT", 0))
            except OSError as error:
                attempts += 1
                if self._refusal(sock, error.errno or 0, attempts):
                    continue
                self.totals.failed += 1
            else:
                self.totals.datagrams += 1
                self.totals.octets += len(payload)
            return

    def _refusal(self, sock: socket.socket, number: int, attempts: int) -> bool:
        """Count a refusal and say whether to try the same datagram again."""
        if number == errno.EINTR:
            return True
        if number == errno.ECONNREFUSED:  # About an earlier datagram; this one was not sent.
            self.totals.refused += 1
            return attempts < ATTEMPTS_MAX
        if number in (errno.EAGAIN, errno.ENOBUFS):
            self.totals.congested += 1
            if attempts >= ATTEMPTS_MAX:
                return False
            select.select((), (sock,), (), RETRY_WAIT_S)
            if number == errno.ENOBUFS:  # The socket says writable all the same.
                time.sleep(RETRY_WAIT_S)
            return True
        if number in (errno.EMSGSIZE, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM):
            return False
        raise OSError(number, os.strerror(number))


class Pace:
    """Let datagrams go when they are due: so many a second, or by given times.

    It looks at the clock every millisecond, lets go what is due, and catches up gently.
    """

    def __init__(
        self, *, rate: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._started_s: float | None = None
        self._next_look_s = 0.0
        self._passed = 0.0
        self._burst = 1 if rate is None else max(1, int(np.ceil(CATCH_UP * rate * SLOT_S)))

    def by_rate(self, weights: NDArray[Any], send: Callable[[int, int], None]) -> None:
        """Call ``send(first, end)`` for pieces, ``rate`` units of weight in a second."""
        if self._rate is None:
            send(0, len(weights))
            return
        due = np.cumsum(weights) - weights
        first = 0
        while first < len(due):
            now = self._look()
            allowed = (now - self._begin()) * self._rate - self._passed
            if allowed > BACKLOG_S * self._rate:
                self._started_s = now - (self._passed / self._rate)
                allowed = 0.0
            limit = min(max(allowed, 0.0), float(self._burst))
            end = int(np.searchsorted(due, due[first] + limit, side="left"))
            if end > first:
                send(first, end)
                passed = float(due[end - 1] + weights[end - 1] - due[first])
                self._passed += passed
                first = end

    def by_time(self, due_s: NDArray[np.float64], send: Callable[[int, int], None]) -> None:
        """Call ``send(first, end)`` for pieces, each no earlier than its seconds from the start."""
        first = 0
        while first < len(due_s):
            passed_s = self._look() - self._begin()
            end = int(np.searchsorted(due_s, passed_s, side="right"))
            if end > first:
                # Pieces of a bounded size, so that a late sender does not go off in one burst.
                end = min(end, first + 4 * SLOTS)
                send(first, end)
                first = end
            elif due_s[first] - passed_s > 2 * SLOT_S:
                time.sleep(min(due_s[first] - passed_s - SLOT_S, 0.2))

    def _begin(self) -> float:
        if self._started_s is None:
            self._started_s = self._clock()
        return self._started_s

    def _look(self) -> float:
        """Wait for the next millisecond, unless it is here, and return the time."""
        now = self._clock()
        self._begin()
        if now < self._next_look_s:
            time.sleep(self._next_look_s - now)
            now = self._clock()
        self._next_look_s = now + SLOT_S
        return now


def _open(family: int, address: Any, source: str | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if source is not None:
            sock.bind((source, 0))
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def _sendmmsg() -> Callable[[int, int, int, int], int] | None:
    """Return libc's ``sendmmsg``, or None where there is none or the layout is another."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "sendmmsg", None)
    if call is None:
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    call.restype = ctypes.c_int
    return call  # type: ignore[no-any-return]  # ctypes does not type its functions.
