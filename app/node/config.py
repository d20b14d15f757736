"""What can be set about a node: where it answers, how it looks after its processes, its limits."""

from dataclasses import dataclass

from collector.receiver.listening import parse_listen
from core.config import ConfigError, Duration, Size, setting


@dataclass(frozen=True, slots=True)
class Config:
    """The ``[node]`` table."""

    data: str = setting("var/flowledger", doc="The data folder, where no --data is given.")
    web: str = setting(
        "127.0.0.1:8080",
        doc="Where health and metrics are served; port 0 takes a free one. They need no password, "
        "so beyond this machine leave them to a network that you trust.",
    )
    keep_receiver: bool = setting(
        default=False, doc="Leave the receiver running when `serve` stops."
    )
    restart_pause: Duration = setting(
        0.5, doc="The pause before a process that died is started again; it doubles each time."
    )
    restart_pause_max: Duration = setting(30.0, doc="The longest such pause.")
    start_limit: Duration = setting(
        120.0, doc="A process that is not ready after so long is started again."
    )
    hung_after: Duration = setting(
        60.0, doc="A process that shows no sign of life for so long is killed and started again."
    )
    stop_limit: Duration = setting(
        30.0, doc="How long a process may take to stop before it is killed."
    )
    lag_max: Duration = setting(
        60.0, doc="The node is not ready while the store is further behind the receiver."
    )
    disk_free_min: Size = setting(
        2 << 30, doc="The node is not ready while the disk has less free octets."
    )
    spool_full_at: float = setting(
        0.8, doc="The node is not ready while more than this share of the spool is in use."
    )

    def __post_init__(self) -> None:
        if not self.data.strip():
            raise ConfigError("data", "is no folder; write . for the present one")
        try:
            parse_listen(self.web)
        except ValueError as mistake:
            raise ConfigError("web", str(mistake)) from mistake
        for name in ("restart_pause", "start_limit", "hung_after", "stop_limit", "lag_max"):
            if getattr(self, name) <= 0:
                raise ConfigError(name, "must be above 0")
        if self.restart_pause_max < self.restart_pause:
            raise ConfigError("restart_pause_max", "must be at least restart_pause")
        if not 0 < self.spool_full_at <= 1:
            raise ConfigError("spool_full_at", "must be above 0 and at most 1")
