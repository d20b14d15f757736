"""Which file holds the configuration, and which variables are no settings."""

from pathlib import Path

from core.config import environment
from core.errors import FlowledgerError

DEFAULT_FILE = Path("flowledger.toml")
FILE_VARIABLE = "FLOWLEDGER_CONFIG"
# What variables that are no settings begin with: of the program itself, and of its tests.
OTHER_VARIABLES = (
    FILE_VARIABLE,
    "FLOWLEDGER_CORPUS",
    "FLOWLEDGER_EXAMPLES",
    "FLOWLEDGER_FEATURES",
    "FLOWLEDGER_FUZZ_",
    "FLOWLEDGER_TEST_",
)


def config_file(path: Path | None = None) -> Path | None:
    """Return the file that ``load_config`` reads, None when there is none."""
    if path is None and (named := environment().get(FILE_VARIABLE)):
        path = Path(named)
    if path is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    if path.is_dir():
        raise FlowledgerError(f"{path} is a folder; name the configuration file in it")
    if not path.exists():
        raise FlowledgerError(f"there is no configuration file {path}; create it or name another")
    return path
