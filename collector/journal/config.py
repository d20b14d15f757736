"""Size, durability and retention of the journal: the ``[journal]`` table."""

from dataclasses import dataclass
from enum import StrEnum

from core.config import ConfigError, Duration, Size, setting

DATAGRAM_OCTETS_MAX = 65_535


class Sync(StrEnum):
    """When written blocks are forced to the disk."""

    INTERVAL = "interval"
    BLOCK = "block"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Config:
    """How raw datagrams are kept."""

    segment_size: Size = setting(
        256 * 2**20, doc="A segment file that has reached this size is finished."
    )
    segment_age: Duration = setting(300.0, doc="A segment file as old as this is finished.")
    block_size: Size = setting(2**20, doc="Most payload octets in one checksummed block.")
    blocks_buffered: int = setting(
        16, doc="Blocks in memory; when all wait for the disk, datagrams wait in the kernel."
    )
    flush_interval: Duration = setting(
        0.1, doc="A block that is not full is written when it is as old as this."
    )
    fsync: Sync = setting(
        Sync.INTERVAL, doc="When written blocks are forced to the disk (block: each at once)."
    )
    fsync_interval: Duration = setting(1.0, doc='How often, with fsync = "interval".')
    compression_level: int = setting(
        0, doc="zstd level of the blocks, 1 to 19; 0 stores them as they are."
    )
    retain: Duration = setting(
        3 * 86_400.0, doc="A segment that every reader has released is deleted at this age."
    )
    octets_max: Size = setting(
        64 * 2**30,
        doc="Above this total, released segments are deleted earlier, oldest first. What a reader "
        "has not released is kept.",
    )
    free_octets_min: Size = setting(
        64 * 2**20, doc="Nothing is written, and drops are counted, below this free disk space."
    )
    direct_io: bool = setting(
        True,
        doc="Write full blocks past the page cache while the disk keeps up: a third of the work.",
    )
    dropped_exporters_max: int = setting(
        4_096, doc="Exporters whose dropped datagrams are counted one by one."
    )

    def __post_init__(self) -> None:
        if self.block_size < DATAGRAM_OCTETS_MAX:
            raise ConfigError("block_size", "must be at least 64KiB, the largest datagram")
        if self.block_size > 64 * 2**20:
            raise ConfigError("block_size", "must be at most 64MiB")
        if self.blocks_buffered < 2:
            raise ConfigError("blocks_buffered", "must be at least 2")
        if not 0 <= self.compression_level <= 19:
            raise ConfigError("compression_level", "must be 0 (off) to 19")
        for name in ("flush_interval", "fsync_interval", "segment_age"):
            if getattr(self, name) <= 0:
                raise ConfigError(name, 'must be more than 0, such as "1s"')
        if self.segment_size < 1:
            raise ConfigError("segment_size", "must be at least 1")
        if self.dropped_exporters_max < 0:
            raise ConfigError("dropped_exporters_max", "must be at least 0")
