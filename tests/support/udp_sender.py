"""Sends datagrams to loopback fast and exactly: `sendmmsg` with structures built once.

Also a program: `python udp_sender.py HOST PORT --size 1400 --rate 100000 --seconds 2`; it prints
how many datagrams and octets the kernel took.
"""

import argparse
import ctypes
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

BATCH = 64
_MESSAGE = np.dtype(
    [
        ("name", "u8"),
        ("name_octets", "u4"),
        ("iovec", "u8"),
        ("iovec_count", "u8"),
        ("control", "u8"),
        ("control_octets", "u8"),
        ("flags", "i8"),  # An int; struct msghdr ends with padding here.
        ("octets", "u8"),  # An int, and padding.
    ],
    align=True,
)


class UdpSender:
    """A connected socket and a list of payloads that is sent over and over."""

    def __init__(
        self, host: str, port: int, payloads: Sequence[bytes], *, source: str | None = None
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        if source is not None:
            self.sock.bind((source, 0))
        self.sock.connect((host, port))
        self.port: int = self.sock.getsockname()[1]
        self._lengths = np.array([len(payload) for payload in payloads], np.uint64)
        starts = np.cumsum(self._lengths) - self._lengths
        self._octets = np.frombuffer(b"".join(payloads) + b"\0", np.uint8)
        self._iovecs = np.zeros((len(payloads), 2), np.uint64)
        self._iovecs[:, 0] = starts + np.uint64(self._octets.ctypes.data)
        self._iovecs[:, 1] = self._lengths
        self._messages: NDArray[Any] = np.zeros(len(payloads), _MESSAGE)
        step = np.arange(len(payloads), dtype=np.uint64) * np.uint64(16)
        self._messages["iovec"] = step + np.uint64(self._iovecs.ctypes.data)
        self._messages["iovec_count"] = 1
        self._call = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._next = 0

    def send(self, count: int) -> int:
        """Send the next ``count`` payloads, going round; return their octets."""
        octets = 0
        while count:
            some = min(count, BATCH, len(self._messages) - self._next)
            at = self._messages.ctypes.data + self._next * _MESSAGE.itemsize
            sent = self._call(self.sock.fileno(), ctypes.c_void_p(at), some, 0)
            if sent < 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            octets += int(self._lengths[self._next : self._next + sent].sum())
            self._next = (self._next + sent) % len(self._messages)
            count -= sent
        return octets

    def send_at(self, rate: float, seconds: float) -> tuple[int, int]:
        """Send at a rate (a second) for a time; return datagrams and octets."""
        datagrams = octets = 0
        started = time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            due = int(elapsed * rate) - datagrams
            if due < 1:
                time.sleep(0.000_2)
                continue
            some = min(due, BATCH)
            octets += self.send(some)
            datagrams += some
        return datagrams, octets

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--size", type=int, default=1_400)
    parser.add_argument("--rate", type=float, default=1e9)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--source")
    args = parser.parse_args()
    payloads = [os.urandom(args.size) for _ in range(BATCH * 4)]
    with UdpSender(args.host, args.port, payloads, source=args.source) as sender:
        datagrams, octets = sender.send_at(args.rate, args.seconds)
    sys.stdout.write(json.dumps({"datagrams": datagrams, "octets": octets}) + "\n")


if __name__ == "__main__":
    main()
