"""Exporters by number: what a flow's columns and its rollup's keys take from who sent it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.log import get_logger
from pipeline.networks import DEFAULT_REALM, Networks
from storage.registry import Registry, RegistryError

COLUMNS = np.dtype([("exporter_addr", "V16"), ("exporter_id", "u4"), ("operator_id", "u4")])

log = get_logger(__name__)


class Exporters:
    """Gives each exporter a number that stays for a batch, and knows its columns by number."""

    def __init__(self, networks: Networks, registry: Registry | None = None) -> None:
        self._networks = networks
        self._registry = registry
        self._numbers: dict[bytes, int] = {}
        self._columns: list[tuple[bytes, int, int]] = []
        self._rates: list[int] = []
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
    def sampling_rates(self) -> NDArray[np.uint32]:
        """What to take instead of what records say, by number; 0 takes what they say."""
        return np.array(self._rates, np.uint32)

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
        """Begin a batch: note who was new in the last one, and look who is known by now."""
        if self._registry is not None:
            try:
                self._registry.see(self._numbers)
                self._registry.refresh()
            except RegistryError as error:
                log.warning("registry cannot be used", why=str(error))
        self._numbers.clear()
        self._columns.clear()
        self._rates.clear()
        self._realms.clear()

    def _add(self, addr: bytes) -> None:
        known = self._registry.find(addr) if self._registry is not None else None
        self._numbers[addr] = len(self._columns)
        self._columns.append((addr, known.id, known.operator_id) if known else (addr, 0, 0))
        self._rates.append(known.sampling_rate if known else 0)
        self._realms.append(self._networks.number(known.realm if known else DEFAULT_REALM))
