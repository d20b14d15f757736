"""How far a file that the store refused is cut up: kept beside it, so that a crash forgets nothing.

A file is halved until the rows are found that the store will not have. What it takes is loaded
under a piece number of its own; numbers rise in the order of loading.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from collector.journal.checkpoint import sync_folder
from pipeline.batch_ids import BatchId
from pipeline.synced import SyncedFile

NAME = "cuts.json"
_PIECE = ".piece-"
REFUSALS_MAX = 100  # Of one file; then all that is left is put aside, for it is not single rows.


@dataclass(slots=True)
class Cut:
    """One file: the runs of rows that are still to be loaded, and how often it was refused."""

    runs: list[tuple[int, int]]  # First row, and number of rows.
    refusals: int = 1

    def halve(self) -> None:
        """Replace the first run by its halves."""
        first, rows = self.runs[0]
        half = rows // 2
        self.runs[:1] = [(first, half), (first + half, rows - half)]


@dataclass(slots=True)
class Cuts:
    """All files of a batch that were refused."""

    folder: Path
    piece: int = 1  # The next one to be loaded.
    files: dict[str, Cut] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read them; empty where nothing was refused."""
        try:
            content = json.loads((folder / NAME).read_bytes())
        except FileNotFoundError:
            return cls(folder)
        files = {
            name: Cut([(first, rows) for first, rows in cut["runs"]], cut["refusals"])
            for name, cut in content["files"].items()
        }
        return cls(folder, content["piece"], files)

    def begin(self, name: str, rows: int) -> None:
        """Note that a file was refused as a whole."""
        cut = self.files[name] = Cut([(0, rows)])
        if rows > 1:
            cut.halve()
        self.save()

    def id_of(self, batch: BatchId) -> BatchId:
        """Return the id of the next piece."""
        return BatchId(batch.node, batch.number, self.piece)

    def new_path(self, name: str) -> Path:
        """Return where to write the next piece; no other one had that name or is there still."""
        self.forget_written()
        return self.folder / f"{name}{_PIECE}{time.time_ns()}.native"

    def forget_written(self) -> None:
        """Remove pieces, so that no statement under way to the store finds them."""
        for path in self.folder.glob(f"*{_PIECE}*"):
            path.unlink()

    def save(self) -> None:
        """Put them on the disk, whole."""
        files = {
            name: {"runs": cut.runs, "refusals": cut.refusals} for name, cut in self.files.items()
        }
        partial = self.folder / f"{NAME}.partial"
        with SyncedFile(partial) as file:
            file.write(json.dumps({"piece": self.piece, "files": files}).encode())
        partial.replace(self.folder / NAME)
        sync_folder(self.folder)

    def must_be_put_aside(self, cut: Cut) -> bool:
        """Say whether the first run, just refused, is as small as it gets."""
        return cut.runs[0][1] == 1 or cut.refusals >= REFUSALS_MAX
