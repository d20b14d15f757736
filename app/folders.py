"""Folders as the command line names them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.config import Config
    from app.questions.settings import Settings


def named_folder(text: str) -> Path:
    """Return the folder; an empty name, as of an unset shell variable, is not the present one."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder; write . for the present one")
    return Path(text)


def data_folder(given: Path | None, config: "Config | Settings") -> Path:
    """Return the data folder: as given, or as configured."""
    return given if given is not None else Path(config.node.data)
