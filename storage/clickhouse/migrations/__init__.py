"""The tables' way from any earlier state to what this version needs, in numbered steps."""

from storage.clickhouse.migrations.migration import MIGRATIONS, Migration
from storage.clickhouse.migrations.runner import check, migrate

__all__ = ["MIGRATIONS", "Migration", "check", "migrate"]
