"""What the pipeline is told: the ``[pipeline]`` table."""

from dataclasses import dataclass

from core.config import ConfigError, Duration, Size, setting
from pipeline.batch_ids import NODE_MAX
from pipeline.networks import NetworkError, Networks

ROWS_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class Config:
    """From the journal to rows in the store."""

    node_id: int = setting(1, doc="This node's number; no two nodes of one store share it.")
    networks: tuple[str, ...] = setting(
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
            *("100.64.0.0/10", "198.18.0.0/15", "fc00::/7", "2001:db8::/32"),
        ),
        doc="Addresses that are ours: PREFIX, or REALM=PREFIX where realms reuse addresses. "
        "The default is what nobody routes on the Internet.",
    )
    batch_rows_max: int = setting(
        1_000_000, doc="Flows in one batch at most; batches grow up to it while the store lags."
    )
    flush_interval: Duration = setting(
        1.0, doc="How long the first flow of a batch waits while the store keeps up."
    )
    spool_size_max: Size = setting(
        20 * 2**30,
        doc="Octets of batches that wait for the store. Beyond it the journal holds the rest.",
    )
    retry_max: Duration = setting(
        15.0, doc="Longest pause between two attempts to load while the store refuses."
    )

    def __post_init__(self) -> None:
        if not 0 <= self.node_id <= NODE_MAX:
            raise ConfigError("node_id", f"{self.node_id} is none: write 0 to {NODE_MAX}")
        if not 1 <= self.batch_rows_max <= ROWS_MAX:
            raise ConfigError("batch_rows_max", f"must be 1 to {ROWS_MAX}")
        for name in ("flush_interval", "retry_max"):
            if getattr(self, name) <= 0:
                raise ConfigError(name, "must be more than 0")
        if self.spool_size_max < 1:
            raise ConfigError("spool_size_max", "must be more than 0")
        try:
            Networks(self.networks)
        except NetworkError as error:
            raise ConfigError("networks", *error.args) from error
