"""Receives on Linux: one `recvmmsg` call fills preallocated memory with up to 1,024 datagrams.

The kernel's structures are numpy arrays that are built once; what a call filled in is read and
reset for all datagrams together, so no Python runs for a single datagram.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS, IPV4_MAPPED
from collector.receiver.kernel_drops import KernelDrops
from collector.receiver.listening import ListenAddress
from collector.receiver.sockets import open_all
from collector.receiver.source import Batch
from core.clock import Clock, SystemClock

BATCH_MAX = 1_024
# Slot pages in memory above which they are given back to the system.
_RESIDENT_MAX = 16 << 20

# <asm-generic/socket.h>; the socket module does not name them.
_SO_TIMESTAMPNS = 35
_SO_RXQ_OVFL = 40

_NAME_OCTETS = 28  # struct sockaddr_in6
_CONTROL_OCTETS = 64  # A time (32), a drop counter (24) and room to notice that there is more.
_TIME_CONTROL = (32, socket.SOL_SOCKET | _SO_TIMESTAMPNS << 32)  # Length; level and type.
_DROP_CONTROL = (20, socket.SOL_SOCKET | _SO_RXQ_OVFL << 32)
_DROP_AT = 32  # Where it starts: behind the time.
_CONTROL_HEAD = struct.Struct("=Qii")  # struct cmsghdr
_MSG_DONTWAIT = int(socket.MSG_DONTWAIT)
_MAPPED = np.frombuffer(IPV4_MAPPED, np.uint8)
# Any other error is the network's (such as an ICMP message), and the next call goes on.
_OUR_BUG = (errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTSOCK)

# struct mmsghdr as on every 64-bit Linux.
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


def is_available() -> bool:
    """Say whether this implementation runs on this machine."""
    return sys.platform == "linux" and sys.maxsize > 2**32 and sys.byteorder == "little"


class LinuxSource:
    """Datagrams by `recvmmsg`, with the kernel's receive time and drop counters."""

    def __init__(
        self,
        addresses: Sequence[ListenAddress],
        *,
        receive_buffer: int,
        datagram_octets_max: int,
        clock: Clock | None = None,
    ) -> None:
        """Open the sockets. Raises FlowledgerError for an address that cannot be had."""
        self._clock = clock or SystemClock()
        self._opened = open_all(addresses, receive_buffer=receive_buffer)
        self._poller = select.epoll()
        for each in self._opened:
            each.sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            each.sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            self._poller.register(each.sock.fileno(), select.EPOLLIN)
        self._index = {each.sock.fileno(): index for index, each in enumerate(self._opened)}
        self._drops = KernelDrops([each.sock for each in self._opened])
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg
        self.odd_controls = 0  # Control messages that were not as expected.
        self._build(datagram_octets_max)

    def _build(self, datagram_octets_max: int) -> None:
        """Lay out the structures and point them at each other."""
        page = mmap.PAGESIZE
        stride = -(-datagram_octets_max // page) * page
        self._memory = mmap.mmap(-1, BATCH_MAX * stride)
        with contextlib.suppress(OSError):  # A huge page would be filled for each slot's first.
            self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._slots = np.frombuffer(self._memory, np.uint8).reshape(BATCH_MAX, stride)
        self._pages = np.zeros(BATCH_MAX, np.int64)  # In memory, at most, of each slot.
        self._is_swollen = False
        self._names = np.zeros((BATCH_MAX, 32), np.uint8)
        self._ports = self._names.view(">u2")[:, 1]
        self._controls = np.zeros((BATCH_MAX, _CONTROL_OCTETS), np.uint8)
        self._control_words = self._controls.view(np.int64)
        iovecs = np.zeros((BATCH_MAX, 2), np.uint64)
        iovecs[:, 0] = _rows_at(self._slots)
        iovecs[:, 1] = datagram_octets_max
        self._iovecs = iovecs
        self._messages = messages = np.zeros(BATCH_MAX, _MESSAGE)
        messages["name"] = _rows_at(self._names)
        messages["iovec"] = _rows_at(iovecs)
        messages["iovec_count"] = 1
        messages["control"] = _rows_at(self._controls)
        messages["name_octets"] = _NAME_OCTETS
        messages["control_octets"] = _CONTROL_OCTETS
        self._messages_at = ctypes.c_void_p(messages.ctypes.data)
        self._name_octets = messages["name_octets"]
        self._control_octets = messages["control_octets"]
        self._flags = messages["flags"]
        self._octets = messages["octets"]
        self._addr = np.zeros((BATCH_MAX, 16), np.uint8)

    @property
    def listeners(self) -> tuple[ListenAddress, ...]:
        """Where it listens, with the ports that were really bound."""
        return tuple(each.address for each in self._opened)

    @property
    def receive_buffer(self) -> int:
        """The smallest receive buffer that a socket has."""
        return min(each.receive_buffer for each in self._opened)

    def receive(self, *, timeout_ms: int) -> Iterator[Batch]:
        """Yield at most one batch of each listener; nothing when nothing came in time."""
        for descriptor, _ in self._poller.poll(timeout_ms / 1_000):
            if self._is_swollen:
                self._give_back()
            count = self._call(descriptor, self._messages_at, BATCH_MAX, _MSG_DONTWAIT, None)
            if count > 0:
                yield self._read(self._index[descriptor], count)
            elif count < 0 and (number := ctypes.get_errno()) in _OUR_BUG:
                raise OSError(number, os.strerror(number))

    def kernel_drops(self) -> list[int]:
        """Return, for each listener, how many datagrams the kernel dropped since it was bound."""
        self._drops.read_proc()
        return list(self._drops.totals)

    def close(self) -> None:
        """Close the sockets."""
        self._poller.close()
        for each in self._opened:
            each.sock.close()

    def _read(self, listener: int, count: int) -> Batch:
        """Gather what a call filled in, and reset the structures for the next one."""
        lengths = self._octets[:count].astype(np.int64)
        if int(lengths.max()) > mmap.PAGESIZE:
            self._note_pages(lengths)
        names = self._names[:count]
        addr = self._addr[:count]
        if self._opened[listener].address.family is socket.AF_INET6:
            addr[:] = names[:, 8:24]
        else:
            addr[:, :12] = _MAPPED
            addr[:, 12:] = names[:, 4:8]
        flags = self._flags[:count]
        cut = (flags & socket.MSG_TRUNC) != 0 if (flags & socket.MSG_TRUNC).any() else None
        batch = Batch(
            slots=self._slots[:count],
            lengths=lengths,
            received_ns=self._times(listener, count),
            addr=addr.view(ADDRESS).reshape(-1),
            port=self._ports[:count].astype(np.uint16),
            cut=cut,
            listener=listener,
        )
        self._name_octets[:count] = _NAME_OCTETS
        self._control_octets[:count] = _CONTROL_OCTETS
        return batch

    def _times(self, listener: int, count: int) -> NDArray[np.int64]:
        """Return the receive times from the control messages, and note the drop counter."""
        words = self._control_words[:count]
        octets = self._control_octets[:count]
        expected = (words[:, 0] == _TIME_CONTROL[0]) & (words[:, 1] == _TIME_CONTROL[1])
        # Behind the octets that were written stands what a former call left.
        expected &= octets >= _DROP_AT
        times: NDArray[np.int64] = words[:, 2] * 1_000_000_000 + words[:, 3]
        # The counter never falls, so the last datagram's tells all.
        if octets[-1] >= _DROP_AT + _DROP_CONTROL[0]:
            length, kind, value = (int(word) for word in words[-1, 4:7])
            if (length, kind) == _DROP_CONTROL:
                self._drops.note(listener, value & 0xFFFF_FFFF)
        if not expected.all():
            for index in np.flatnonzero(~expected):
                times[index] = self._odd_time(int(index))
        return times

    def _odd_time(self, index: int) -> int:
        """Find the receive time among control messages that are not laid out as expected."""
        self.odd_controls += 1
        control = self._controls[index].tobytes()[: int(self._control_octets[index])]
        while len(control) >= _CONTROL_HEAD.size:
            octets, level, kind = _CONTROL_HEAD.unpack_from(control)
            if octets < _CONTROL_HEAD.size:
                break
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(control) >= octets:
                seconds, nanoseconds = struct.unpack_from("=qq", control, _CONTROL_HEAD.size)
                return int(seconds) * 1_000_000_000 + int(nanoseconds)
            control = control[-(-octets // 8) * 8 :]
        return self._clock.now_ns()

    def _note_pages(self, lengths: NDArray[np.int64]) -> None:
        pages = self._pages[: len(lengths)]
        np.maximum(pages, -(-lengths // mmap.PAGESIZE), out=pages)
        self._is_swollen = int(self._pages.sum()) * mmap.PAGESIZE > _RESIDENT_MAX

    def _give_back(self) -> None:
        """Return the slots' memory to the system; they read as zeros until filled again."""
        self._memory.madvise(mmap.MADV_DONTNEED)
        self._pages[:] = 0
        self._is_swollen = False


def _rows_at(array: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the memory address of each row."""
    start, step = array.ctypes.data, array.strides[0]
    return np.arange(start, start + len(array) * step, step, dtype=np.uint64)
