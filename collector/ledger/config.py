"""Windows and limits of the loss ledger."""

from dataclasses import dataclass
from typing import Final

from core.config import ConfigError, Size, setting

NS_PER_SECOND: Final = 1_000_000_000
NS_PER_MINUTE: Final = 60 * NS_PER_SECOND
NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """How long late datagrams and duplicates are waited for, and what may be kept at most."""

    window_s: int = setting(
        60, doc="How late a datagram may fill its gap, and how long a duplicate is recognised."
    )
    open_gaps_per_stream_max: int = setting(
        1_024,
        doc="Gaps of one stream that a late datagram can still fill; the oldest becomes final.",
    )
    open_gaps_max: int = setting(65_536, doc="The same for all streams together.")
    jump_units_max: int = setting(
        100_000, doc="A sequence may always jump ahead by this; more must fit into the time passed."
    )
    units_per_second_max: int = setting(
        1_000_000, doc="Fastest exporter: a jump beyond it is a restart or a stray, never a loss."
    )
    duplicates_memory: Size = setting(
        32 * 2**20, doc="Memory for recognising duplicates, 18 octets a datagram."
    )
    snapshot_datagrams_max: int = setting(
        16_384, doc="Latest datagrams that a snapshot can recognise duplicates of."
    )
    waiting_minutes_max: int = setting(
        65_536, doc="Minutes of streams with sets waiting for a template, kept to be settled."
    )
    half_life_minutes: int = setting(
        60, doc="Age at which a datagram counts half in the estimates of what was lost."
    )

    def __post_init__(self) -> None:
        for name in (
            "window_s",
            "open_gaps_per_stream_max",
            "open_gaps_max",
            "units_per_second_max",
            "waiting_minutes_max",
            "half_life_minutes",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(name, "must be at least 1")
        for name in ("jump_units_max", "snapshot_datagrams_max"):
            if getattr(self, name) < 0:
                raise ConfigError(name, "must be at least 0")
        if self.window_s > 3_600:
            raise ConfigError("window_s", "must be at most 3600")
        if self.jump_units_max >= 2**31:
            raise ConfigError("jump_units_max", "must be below 2147483648, half the sequence")
        if self.duplicates_memory < 2**20:
            raise ConfigError("duplicates_memory", "must be at least 1MiB")

    @property
    def window_ns(self) -> int:
        """The window in nanoseconds."""
        return self.window_s * NS_PER_SECOND

    @property
    def window_ms(self) -> int:
        """The window in milliseconds."""
        return self.window_s * 1_000
