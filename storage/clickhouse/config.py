"""Which store is used, how it is laid out, and how long it keeps what: the ``[store]`` table."""

from dataclasses import dataclass, replace
from enum import StrEnum
from string import ascii_letters, digits
from urllib.parse import urlsplit

from core.config import ConfigError, Duration, section, setting
from storage.clickhouse.ages import Retention
from storage.clickhouse.engine.config import Config as EngineConfig

_CLUSTER_LETTERS = frozenset(f"{ascii_letters}{digits}-_{{}}")


class ShardBy(StrEnum):
    """What decides on which shard of a cluster a row is kept."""

    EXPORTER = "exporter"
    LOCAL_ADDRESS = "local_address"


@dataclass(frozen=True, slots=True)
class Config:
    """The store: the process of the data folder, one ClickHouse server, or a cluster."""

    url: str = setting(
        "",
        doc="ClickHouse server, such as http://clickhouse:8123; empty for the store process of "
        "the data folder.",
    )
    user: str = setting("default", doc="User on that server.")
    password: str = setting("", doc="Its password.", secret=True)
    database: str = setting("flowledger", doc="Database that holds the tables.")
    cluster: str = setting("", doc="Cluster of that server; empty for a server alone.")
    shard_by: ShardBy = setting(
        ShardBy.EXPORTER, doc="What decides on the shard of a row, in a cluster."
    )
    keeper_path: str = setting(
        "/clickhouse/tables/{shard}/{database}/{table}",
        doc="Where replicas of one shard meet, in a cluster; macros are the server's.",
    )
    replica: str = setting("{replica}", doc="Name of a replica, in a cluster.")
    connect_timeout: Duration = setting(5.0, doc="How long a connection may take to be made.")
    query_timeout: Duration = setting(60.0, doc="How long an answer may take.")
    load_timeout: Duration = setting(300.0, doc="How long the load of one file may take.")
    retention: Retention = section(Retention)
    engine: EngineConfig = section(EngineConfig)

    def __post_init__(self) -> None:
        if self.url:
            _check_url(self.url)
        if not _is_name(self.database):
            raise ConfigError("database", "must be letters, digits and _, not a digit first")
        if self.cluster and not set(self.cluster) <= _CLUSTER_LETTERS:
            raise ConfigError("cluster", "must be letters, digits, -, _, or a macro in { }")
        if self.cluster and not self.url:
            raise ConfigError("cluster", "needs store.url, a server of that cluster")
        for name in ("keeper_path", "replica"):
            if not getattr(self, name) or "'" in getattr(self, name) or "\\" in getattr(self, name):
                raise ConfigError(name, "must not be empty or hold quotes")
        for name in ("connect_timeout", "query_timeout", "load_timeout"):
            if getattr(self, name) < 1:
                raise ConfigError(name, "must be at least 1s")

    def engine_at_any_port(self) -> EngineConfig:
        """Return the engine's settings for a process that is started for one command."""
        return replace(self.engine, listen="127.0.0.1:0")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ConfigError("url", "must be http://HOST:PORT or https://HOST:PORT")
    if parts.username or parts.password:
        raise ConfigError("url", "must not hold a password; give user and password apart")
    if parts.query or parts.fragment:
        raise ConfigError("url", "must end with the host, port and path")


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier()
