"""Exporters by number: what a flow's columns and its rollup's keys take from who sent it."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.networks import DEFAULT_REALM, Networks

COLUMNS = np.dtype([("exporter_addr", "V16"), ("exporter_id", "u4"), ("operator_id", "u4")])
NUMBERS_MAX = 100_000  # Kept between batches; whoever sends under many addresses fills no memory.


class Exporter(Protocol):
    """What the registry says of one that is known."""

    @property
    def id(self) -> int:
        """The number in ``exporter_id``."""
        ...

    @property
    def operator_id(self) -> int:
        """Whose it is."""
        ...

    @property
    def realm(self) -> str:
        """Which networks are local behind it."""
        ...


class Registry(Protocol):
    """Where exporters are looked up."""

    def find(self, addr: bytes) -> Exporter | None:
        """Return the exporter with this address of 16 octets; None if it is not registered."""
        ...


class Exporters:
    """Gives each exporter a number that stays for a batch, and knows its columns by number."""

    def __init__(self, networks: Networks, registry: Registry | None = None) -> None:
        self._networks = networks
        self._registry = registry
        self._numbers: dict[bytes, int] = {}
        self._columns: list[tuple[bytes, int, int]] = []
        self._realms: list[int] = []

    @property
    def columns(self) -> NDArray[Any]:
        """One record for each number."""
        return np.array(self._columns, COLUMNS)

    @property
    def ids(self) -> NDArray[np.uint32]:
        """``exporter_id`` by number."""
        return np.array([each[1] for each in self._columns], np.uint32)

    @property
    def operator_ids(self) -> NDArray[np.uint32]:
        """``operator_id`` by number."""
        return np.array([each[2] for each in self._columns], np.uint32)

    @property
    def realms(self) -> NDArray[np.int64]:
        """Place in the table of networks by number."""
        return np.array(self._realms, np.int64)

    def number(self, addresses: NDArray[Any]) -> NDArray[np.int64]:
        """Return the number of each address of 16 octets."""
        numbers = self._numbers
        octets = addresses.tolist()
        for addr in set(octets) - numbers.keys():
            self._add(addr)
        return np.fromiter(map(numbers.__getitem__, octets), np.int64, len(octets))

    def renew(self) -> None:
        """Forget what the registry said; for between two batches."""
        self._numbers.clear()
        self._columns.clear()
        self._realms.clear()

    def _add(self, addr: bytes) -> None:
        known = self._registry.find(addr) if self._registry is not None else None
        self._numbers[addr] = len(self._columns)
        self._columns.append((addr, known.id, known.operator_id) if known else (addr, 0, 0))
        self._realms.append(self._networks.number(known.realm if known else DEFAULT_REALM))
