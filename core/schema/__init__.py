"""Declarations of every record, once."""

from core.schema.exporter_health import EXPORTER_HEALTH
from core.schema.flows import FLOWS
from core.schema.kinds import Kind
from core.schema.nat_events import NAT_EVENTS
from core.schema.table import Column, SchemaError, Stage, Table

__all__ = [
    "EXPORTER_HEALTH",
    "FLOWS",
    "NAT_EVENTS",
    "Column",
    "Kind",
    "SchemaError",
    "Stage",
    "Table",
]
