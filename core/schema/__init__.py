"""Declarations of every record, once."""

from core.schema.exporter_health import EXPORTER_HEALTH
from core.schema.flows import FLOWS
from core.schema.kinds import Kind
from core.schema.nat_events import NAT_EVENTS
from core.schema.rollups import ROLLUP_1H, ROLLUP_5M
from core.schema.table import DECODED, Column, Index, Merge, Role, SchemaError, Stage, Table
from core.schema.usage import USAGE_5M

# Every table of the store, in the order in which they are created and loaded.
TABLES = (FLOWS, NAT_EVENTS, EXPORTER_HEALTH, ROLLUP_5M, ROLLUP_1H, USAGE_5M)

__all__ = [
    "DECODED",
    "EXPORTER_HEALTH",
    "FLOWS",
    "NAT_EVENTS",
    "ROLLUP_1H",
    "ROLLUP_5M",
    "TABLES",
    "USAGE_5M",
    "Column",
    "Index",
    "Kind",
    "Merge",
    "Role",
    "SchemaError",
    "Stage",
    "Table",
]
