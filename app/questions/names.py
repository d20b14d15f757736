"""Names of exporters in filters and answers, from the registry of the data folder."""

from collections.abc import Sequence
from pathlib import Path

from storage.clickhouse.filters import NoNames, UnknownNameError
from storage.clickhouse.queries import NoLabels
from storage.registry import Registry


class Names(NoNames):
    """Knows exporters by the names that the registry gives them."""

    def __init__(self, registry: Registry) -> None:
        self._by_name = {each.name: each.addr for each in registry.entries() if each.name}

    def exporter(self, name: str) -> Sequence[str]:
        """Return the addresses of the exporter of this name."""
        if name not in self._by_name:
            known = ", ".join(sorted(self._by_name)) or "none yet; see `flowledger registry`"
            raise UnknownNameError(f"no exporter is named {name!r}; known are {known}")
        return [self._by_name[name]]


class ExporterLabels(NoLabels):
    """Shows exporters by their names."""

    def __init__(self, registry: Registry) -> None:
        self._by_addr = {each.addr: each.label for each in registry.entries()}

    def exporter_label(self, address: str) -> str:
        """Return the name of the exporter with this address, else the address."""
        return self._by_addr.get(address, address)


def names_of(data: Path) -> tuple[Names, ExporterLabels]:
    """Return what the registry of a data folder knows."""
    registry = Registry.of(data)
    return Names(registry), ExporterLabels(registry)
