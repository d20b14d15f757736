"""The pipeline's way to its store, found anew after each trouble; tables and numbers checked."""

import threading
from collections.abc import Callable
from pathlib import Path

from core.errors import FlowledgerError
from core.log import get_logger
from pipeline.proof import newest_number
from pipeline.spool import SpoolError
from storage.clickhouse.client import Store
from storage.clickhouse.config import Config
from storage.clickhouse.endpoints import find_endpoint
from storage.clickhouse.errors import StoreDownError, StoreError
from storage.clickhouse.migrations import migrate

log = get_logger(__name__)


class StoreSide:
    """Connects as the loader. The first time it makes what tables are lacking.

    ``last_number`` says which numbers of this node's batches we gave, as far as we know.
    """

    def __init__(
        self, config: Config, data: Path, node: int, *, last_number: Callable[[], int]
    ) -> None:
        self._config, self._data, self._node = config, data, node
        self._last_number = last_number
        self.is_known = threading.Event()

    def connect(self) -> Store:
        """Return a connection; raises StoreError while there is none to be had."""
        try:
            endpoint = find_endpoint(self._config, self._data, "loader")
        except StoreError:
            raise
        except FlowledgerError as error:
            raise StoreDownError(str(error)) from error
        if endpoint is None:
            raise StoreDownError(
                f"the store of {self._data} does not run; start it with `flowledger store`, or "
                "name a ClickHouse server in store.url"
            )
        store = Store(endpoint, self._config)
        try:
            if not self.is_known.is_set():
                self._prepare(store)
        except BaseException:
            store.close()
            raise
        return store

    def _prepare(self, store: Store) -> None:
        done = migrate(store, self._config)
        if done:
            log.info("tables made or changed", migrations=list(done))
        newest, ours = newest_number(store, self._node), self._last_number()
        if newest > ours:
            raise SpoolError(
                f"the store has batches of node {self._node} up to number {newest}, but here they "
                f"end at {ours}: give this node a pipeline.node_id that no other has, or put back "
                f"the spool that belongs to it"
            )
        self.is_known.set()
