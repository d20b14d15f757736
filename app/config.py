"""The whole configuration: every package's ``Config`` in one tree, from one TOML file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.config_file import OTHER_VARIABLES, config_file
from app.node.config import Config as NodeConfig
from collector.config import Config as DecoderConfig
from collector.journal.config import Config as JournalConfig
from collector.receiver.config import Config as ReceiverConfig
from core import log
from core.config import environment, load, read, section
from pipeline.config import Config as PipelineConfig
from storage.clickhouse.config import Config as StoreConfig

LogConfig = log.Config  # Its own name, for a field called `log` hides the module.


@dataclass(frozen=True, slots=True)
class Collector:
    """From socket to decoded flows."""

    receiver: ReceiverConfig = section(ReceiverConfig, is_inline=True)
    journal: JournalConfig = section(JournalConfig)
    decoder: DecoderConfig = section(DecoderConfig)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set."""

    log: LogConfig = section(LogConfig)
    collector: Collector = section(Collector)
    store: StoreConfig = section(StoreConfig)
    pipeline: PipelineConfig = section(PipelineConfig)
    node: NodeConfig = section(NodeConfig)


def load_config(path: Path | None = None, *, overrides: Mapping[str, str] | None = None) -> Config:
    """Read the file named here, by ``FLOWLEDGER_CONFIG``, or ``./flowledger.toml`` if there.

    Without any, every setting has its default. The environment overrides in all cases, and
    ``overrides``, variables too, override that. The log goes on as the file says.
    """
    chosen = config_file(path)
    environ = {**environment(), **(overrides or {})}
    if chosen:
        config = read(Config, chosen, environ=environ, known=OTHER_VARIABLES)
    else:
        config = load(Config, environ=environ, known=OTHER_VARIABLES)
    log.configure(config.log)
    return config
