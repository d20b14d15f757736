"""What every receiver implementation offers: batches of datagrams, and what the kernel dropped."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from collector.receiver.listening import ListenAddress


@dataclass(frozen=True, slots=True)
class Batch:
    """Datagrams that one listener received, in the order of arrival.

    The arrays are views of reused memory: they hold until the next batch is asked for.
    """

    slots: NDArray[np.uint8]  # (count, stride); datagram i is slots[i, : lengths[i]].
    lengths: NDArray[np.int64]
    received_ns: NDArray[np.int64]
    addr: NDArray[Any]  # dtype V16, IPv4 mapped.
    port: NDArray[np.uint16]
    cut: NDArray[np.bool_] | None  # Datagrams longer than a slot; None when there is none.
    listener: int  # Index into the source's ``listeners``.

    def __len__(self) -> int:
        return len(self.lengths)


class DatagramSource(Protocol):
    """Sockets to receive from. ``LinuxSource`` and ``PortableSource`` pass the same tests."""

    @property
    def listeners(self) -> tuple[ListenAddress, ...]:
        """Where it listens, with the ports that were really bound."""
        ...

    @property
    def receive_buffer(self) -> int:
        """The smallest receive buffer of a listener, in octets."""
        ...

    def receive(self, *, timeout_ms: int) -> Iterator[Batch]:
        """Yield at most one batch of each listener; nothing when nothing came in time."""
        ...

    def kernel_drops(self) -> list[int]:
        """Return, for each listener, how many datagrams the kernel dropped since it was bound."""
        ...

    def close(self) -> None:
        """Close the sockets. What they still hold is lost: receive until nothing comes first.

        Closing twice does nothing.
        """
        ...
