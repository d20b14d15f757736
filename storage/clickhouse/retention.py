"""Brings the ages at which rows go to what the configuration says, in place."""

import re

from core.schema import TABLES, Table
from storage.clickhouse.client import Store
from storage.clickhouse.config import Config
from storage.clickhouse.ddl import alter, drops_whole_parts, held_name, ttl

_RULES = re.compile(r" ORDER BY .*? TTL (.*?) SETTINGS ", re.DOTALL)
_WHOLE = re.compile(r"\bttl_only_drop_parts = (\d+)")

# Parts learn their new age in the background; a table of terabytes must not hold up a start.
_NOT_WAITING = {"alter_sync": 0, "mutations_sync": 0}


def apply(store: Store, config: Config) -> tuple[str, ...]:
    """Change tables whose rules are others than configured; return their names."""
    changed = []
    for table in TABLES:
        statements = _changes(table, config, _created(store, table, config))
        for statement in statements:
            store.command(statement, settings=_NOT_WAITING)
        if statements:
            changed.append(table.name)
    return tuple(changed)


def _changes(table: Table, config: Config, created: str) -> tuple[str, ...]:
    """Return what brings a table to its rules.

    Parts keep the time at which they go, so it is worked out anew for those that are there
    (``materialize_ttl_after_modify``, which is on by default): left alone, they would still go
    at the old time when rows are to be kept longer. Only that time is: the tables have
    ``materialize_ttl_recalculate_only``, so no row is written again for it.
    """
    found = _RULES.search(created)
    rules = ttl(table, config.retention)
    statements = []
    whole = int(drops_whole_parts(table, config.retention))
    told = _WHOLE.search(created)
    if told is None or int(told[1]) != whole:
        statements.append(alter(table, config, f"MODIFY SETTING ttl_only_drop_parts = {whole}"))
    if _plain(found[1] if found else "") != _plain(rules):
        statements.append(alter(table, config, f"MODIFY TTL {rules}" if rules else "REMOVE TTL"))
    return tuple(statements)


def _created(store: Store, table: Table, config: Config) -> str:
    name = held_name(table, config).rpartition(".")[2]
    rows = store.rows(
        "SELECT create_table_query FROM system.tables "
        "WHERE database = currentDatabase() AND name = {name:String}",
        {"name": name},
    )
    return str(rows[0][0]) if rows else ""


def _plain(rules: str) -> str:
    """Return rules as the store writes them: what a rule does by default is left out."""
    return " ".join(rules.replace(" DELETE WHERE ", " WHERE ").split())
