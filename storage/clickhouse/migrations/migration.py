"""The steps. They are only ever added to: a step that was released stays as it is."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from core.schema import TABLES, Merge
from storage.clickhouse.config import Config
from storage.clickhouse.ddl import MERGED_AT_ONCE, alter, codec, create_table


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. Doing it again must change nothing, for a crash may come before it is noted."""

    number: int
    name: str
    statements: Callable[[Config], tuple[str, ...]]

    @property
    def checksum(self) -> str:
        """What tells it from another step of the same number; not how it is rendered here."""
        return sha256(f"{self.number} {self.name}".encode()).hexdigest()[:16]


def _initial(config: Config) -> tuple[str, ...]:
    # From the declarations as they are now: tables that were there are left alone, and what
    # later versions declare differently, later steps have changed.
    return tuple(statement for table in TABLES for statement in create_table(table, config))


def _merge_more_at_once(config: Config) -> tuple[str, ...]:
    setting = f"MODIFY SETTING merge_selector_base = {MERGED_AT_ONCE}"
    return tuple(alter(table, config, setting) for table in TABLES if table.merge is Merge.KEEP)


def _write_for_reading(config: Config) -> tuple[str, ...]:
    # Parts that are there are written anew when they are merged, and read as well until then.
    changes = {
        table: [
            f"MODIFY COLUMN IF EXISTS {each.name} {codec(each)}"
            for each in table.columns
            if each.codec
        ]
        for table in TABLES
    }
    return tuple(alter(table, config, ", ".join(each)) for table, each in changes.items() if each)


MIGRATIONS = (
    Migration(1, "initial", _initial),
    Migration(2, "merge more parts at once", _merge_more_at_once),
    Migration(3, "codecs that are read faster", _write_for_reading),
)
