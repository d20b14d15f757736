"""The settings that a question needs: reading all of them would take as long as most questions."""

from dataclasses import dataclass
from pathlib import Path

from app.config_file import OTHER_VARIABLES, config_file
from app.node.config import Config as NodeConfig
from core import log
from core.config import environment, load, read, section
from storage.clickhouse.config import Config as StoreConfig

LogConfig = log.Config  # Its own name, for a field called `log` hides the module.

# Tables of the whole configuration that no question looks into.
OTHERS = ("collector", "pipeline")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the store is, and how to log."""

    log: LogConfig = section(LogConfig)
    store: StoreConfig = section(StoreConfig)
    node: NodeConfig = section(NodeConfig)


def load_settings(path: Path | None = None) -> Settings:
    """Read them from the file and the environment that the whole configuration is read from."""
    chosen = config_file(path)
    environ = environment()
    if chosen:
        found = read(Settings, chosen, environ=environ, known=OTHER_VARIABLES, others=OTHERS)
    else:
        found = load(Settings, environ=environ, known=OTHER_VARIABLES, others=OTHERS)
    log.configure(found.log)
    return found
