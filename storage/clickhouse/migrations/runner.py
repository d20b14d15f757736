"""Does the steps that a store still lacks, and refuses stores that this version does not know."""

from collections.abc import Sequence

from core.schema import TABLES
from storage.clickhouse import retention
from storage.clickhouse.client import Store
from storage.clickhouse.config import Config
from storage.clickhouse.ddl import create_database, notes_table
from storage.clickhouse.errors import StoreDeniedError, StoreRefusedError
from storage.clickhouse.migrations.migration import MIGRATIONS, Migration

NOTES = "schema_migrations"

_UNKNOWN = frozenset({60, 81})  # No such table, no such database.


def migrate(
    store: Store, config: Config, migrations: Sequence[Migration] = MIGRATIONS
) -> tuple[int, ...]:
    """Bring database, tables and ages to what is declared; return the numbers of what was done.

    Two at once, or one after a crash, do no harm: every step may be done again.
    """
    store.command(create_database(config), in_database=False)
    store.command(notes_table(NOTES, config))
    noted = _noted(store)
    _refuse_unknown(store, noted, migrations)
    done = []
    for migration in migrations:
        if migration.number in noted:
            continue
        for statement in migration.statements(config):
            store.command(statement)
        store.command(
            f"INSERT INTO {NOTES} "  # A name of ours; values are parameters.
            "SELECT {number:UInt32}, {name:String}, {checksum:String}, now64(3, 'UTC')",
            {
                "number": migration.number,
                "name": migration.name,
                "checksum": migration.checksum,
            },
        )
        done.append(migration.number)
    _refuse_missing(store)
    retention.apply(store, config)
    return tuple(done)


def check(store: Store, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Raise ``StoreDeniedError`` unless the store's tables are those of this version."""
    try:
        noted = _noted(store)
    except StoreRefusedError as error:
        if error.code not in _UNKNOWN:
            raise
        noted = {}
    _refuse_unknown(store, noted, migrations)
    lacking = [each for each in migrations if each.number not in noted]
    if lacking:
        raise StoreDeniedError(
            f"store {store.endpoint.url}: database {store.endpoint.database} lacks step "
            f"{lacking[0].number} ({lacking[0].name}); `flowledger serve` brings it up to date"
        )


def _noted(store: Store) -> dict[int, str]:
    rows = store.rows(
        f"SELECT number, any(checksum) FROM {NOTES} GROUP BY number ORDER BY number"  # noqa: S608
    )
    return {int(number): str(checksum) for number, checksum in rows}


def _refuse_unknown(store: Store, noted: dict[int, str], migrations: Sequence[Migration]) -> None:
    known = {each.number: each for each in migrations}
    newest = max(noted, default=0)
    if newest > max(known, default=0):
        raise StoreDeniedError(
            f"store {store.endpoint.url}: its tables are those of a newer Flowledger (step "
            f"{newest}, this one knows {max(known)}); install that one again"
        )
    for number, checksum in noted.items():
        if number not in known or known[number].checksum != checksum:
            raise StoreDeniedError(
                f"store {store.endpoint.url}: step {number} of its tables was another than ours; "
                "it belongs to another Flowledger, so name another database in store.database"
            )


def _refuse_missing(store: Store) -> None:
    """See that tables which were there already have all that is declared."""
    found = {
        (str(table), str(column))
        for table, column in store.rows(
            "SELECT table, name FROM system.columns WHERE database = currentDatabase()"
        )
    }
    for table in TABLES:
        missing = [name for name in table.names if (table.name, name) not in found]
        if missing:
            raise StoreDeniedError(
                f"store {store.endpoint.url}: its table {table.name} lacks {', '.join(missing)}; "
                "it was not made by Flowledger, so name another database in store.database"
            )
