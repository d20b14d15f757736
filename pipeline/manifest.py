"""What a batch says of itself, as JSON with a checksum: its part of the journal and its files."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import xxhash

from collector.journal.layout import Position
from pipeline.batch_files import BatchFile

VERSION = 1


class ManifestError(ValueError):
    """Text that is no manifest of ours."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The part of the journal that a batch is made of."""

    start: Position
    end: Position
    needed: Position  # The oldest one that must stay in the journal when the batch is loaded.
    datagrams: int
    flows: int
    first_ms: int = 0  # Arrivals; 0 where there was no flow.
    last_ms: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole batch."""

    node: int
    number: int
    progress: Progress
    files: tuple[BatchFile, ...]
    state_checksum: str
    quarantined: str = ""  # The entry of the quarantine that it tries again.

    @property
    def octets(self) -> int:
        """Size of its files."""
        return sum(file.octets for file in self.files)

    def text(self) -> bytes:
        """Return it as it is written."""
        content = {"version": VERSION, **asdict(self)}
        return json.dumps({"checksum": _checksum(content), **content}, indent=1).encode()


def read_manifest(text: bytes) -> Manifest:
    """Read back what ``text`` wrote; raises ManifestError."""
    try:
        content = json.loads(text)
        if content["version"] != VERSION:
            raise ManifestError(f"it is of version {content['version']}, not {VERSION}")
        if content.pop("checksum") != _checksum(content):
            raise ManifestError("its checksum is wrong")
        progress = content["progress"]
        for name in ("start", "end", "needed"):
            progress[name] = Position(**progress[name])
        files = [
            BatchFile(**{**file, "columns": tuple(file["columns"])}) for file in content["files"]
        ]
        return Manifest(
            content["node"],
            content["number"],
            Progress(**progress),
            tuple(files),
            content["state_checksum"],
            content["quarantined"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(str(error)) from error


def _checksum(content: Mapping[str, Any]) -> str:
    plain = json.dumps(content, sort_keys=True).encode()
    return str(xxhash.xxh3_64_hexdigest(plain))
