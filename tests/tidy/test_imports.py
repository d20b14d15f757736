"""Each third-party library has owners, and nobody else imports it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.tree import PACKAGES, name, parsed, python_files

# Library -> the packages (or folders in them) that may import it.
OWNERS: dict[str, tuple[str, ...]] = {
    "asyncio_dgram": ("collector/receiver",),
    "backports": ("core/zstd",),
    "compression": ("core/zstd",),  # In the standard library from 3.14.
    "chdb": ("storage/clickhouse/engine",),
    "clickhouse_connect": ("storage/clickhouse/client",),
    "cryptography": ("app/exports",),  # Signatures.
    "lark": ("storage/clickhouse/filters",),
    "llvmlite": ("collector/compiled",),
    "lz4": ("storage/clickhouse/engine",),
    "numba": ("collector/compiled",),
    "numpy": ("app", "collector", "pipeline", "simulator", "storage"),
    "polars": ("app", "collector/sources", "pipeline", "simulator", "storage"),
    "pyarrow": ("app/exports/arrow",),  # Arrow files, and the schema in Parquet's.
    "rich": ("app",),
    "urllib3": ("storage/clickhouse/client",),  # Its errors, which the client library lets through.
    "uvicorn": ("app", "storage/clickhouse/engine"),
    "xxhash": ("collector", "pipeline"),
}


@pytest.mark.parametrize("path", python_files(*PACKAGES), ids=name)
def test_a_library_is_imported_by_its_owners_only(path: Path) -> None:
    for library in sorted(set(_imported(path)) - sys.stdlib_module_names - set(PACKAGES)):
        assert library in OWNERS, f"{library} has no owner; name one in OWNERS"
        owned = any(name(path).startswith((f"{owner}/", f"{owner}.")) for owner in OWNERS[library])
        assert owned, f"{library} belongs to {OWNERS[library]}"


def test_every_owned_library_is_used() -> None:
    used = {library for path in python_files(*PACKAGES) for library in _imported(path)}
    assert set(OWNERS) - used == set()


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
