"""How many datagrams the kernel dropped on each socket for want of buffer."""

import os
import socket
from collections.abc import Sequence

from collector.receiver.proc_net import drops_by_inode

_MODULUS = 1 << 32


class KernelDrops:
    """Drop counters of 32 bits, unwrapped into totals since each socket was opened.

    The counter comes with datagrams (`SO_RXQ_OVFL`) and from /proc/net/udp. The former tells only
    of drops before a datagram that was received; the latter knows the last ones too.
    """

    __slots__ = ("_inodes", "_seen", "totals")

    def __init__(self, socks: Sequence[socket.socket]) -> None:
        self._inodes = [os.fstat(sock.fileno()).st_ino for sock in socks]
        self._seen = [0] * len(socks)
        self.totals = [0] * len(socks)

    def note(self, index: int, counter: int) -> None:
        """Take a socket's counter as the kernel gave it."""
        grown = (counter - self._seen[index]) % _MODULUS
        # A datagram carries the counter of when it was queued: it may be behind what /proc said.
        if grown < _MODULUS // 2:
            self.totals[index] += grown
            self._seen[index] = counter

    def read_proc(self) -> None:
        """Take the counters from /proc, where there is one."""
        by_inode = drops_by_inode()
        for index, inode in enumerate(self._inodes):
            counter = by_inode.get(inode)
            if counter is not None:
                self.note(index, counter)
