"""Folders as the command line names them."""

import argparse
from pathlib import Path


def named_folder(text: str) -> Path:
    """Return the folder; an empty name, as of an unset shell variable, is not the present one."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder; write . for the present one")
    return Path(text)
