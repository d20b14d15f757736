"""Checks files of an export against their manifest, and says which one is wrong."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from app.exports.keys import PublicKey
from app.exports.manifest import Signed, read_manifest
from app.exports.writers import Format
from core.errors import FlowledgerError
from core.schema import Kind

_PIECE = 1 << 20
_LINES = 16 << 20
_LINE_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with a manifest, and with each of its files; nothing where all is right."""

    manifest: Path
    signer: str
    problems: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    rows: int

    @property
    def is_right(self) -> bool:
        """Say whether nothing is wrong."""
        return not self.problems and not any(self.files.values())

    def lines(self) -> Iterator[str]:
        """Yield a line for each file, right or wrong, and for the manifest."""
        for name, problems in self.files.items():
            yield f"{name}: {'wrong: ' + '; '.join(problems) if problems else 'right'}"
        if self.problems:
            yield f"{self.manifest}: wrong: {'; '.join(self.problems)}"
        else:
            yield f"{self.manifest}: right: {self.rows:,} rows, {self.signer}"


def verify(path: Path, key: PublicKey | None) -> Checked:
    """Check signature, sizes, hashes, rows and sums. Without a key, the manifest's own is taken."""
    signed = read_manifest(path)
    problems = []
    if key is not None and key.raw != signed.key.raw:
        problems.append(f"signed with key {signed.key.id}, not with {key.id}")
    elif not signed.is_signed_by(key or signed.key):
        problems.append("the signature does not fit: it was changed after it was signed")
    if key is None:
        signer = (
            f"signed with key {signed.key.id}, which the manifest itself names; "
            "give --key to know whose it is"
        )
    else:
        signer = f"signed with key {signed.key.id}"
    content = signed.content
    try:
        files = {str(each["name"]): _problems(signed, each) for each in content["files"]}
        problems += _whole(content)
        return Checked(path, signer, tuple(problems), files, int(content["rows"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FlowledgerError(
            f"{path} lacks what a manifest has ({type(error).__name__}: {error})"
        ) from error


def uncovered(place: Path, manifests: Sequence[Path]) -> list[Path]:
    """Return files of a folder that look exported, and that no manifest of it names."""
    if not place.is_dir():
        return []
    known = {
        str(each["name"]) for path in manifests for each in read_manifest(path).content["files"]
    }
    endings = tuple(f".{each}" for each in Format)
    return [
        path
        for path in sorted(place.iterdir())
        if path.name.endswith(endings) and path.name not in known and path.name[0] != "."
    ]


def _whole(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the manifest contradicts itself."""
    rows = sum(int(each["rows"]) for each in content["files"])
    if rows != int(content["rows"]):
        yield f"its files have {rows:,} rows, not {content['rows']:,}"
    for name, total in content["sums"].items():
        found = sum(int(each["sums"][name]) for each in content["files"])
        if found != int(total):
            yield f"{name} of its files is {found:,}, not {total:,}"


def _problems(signed: Signed, told: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is wrong with a file."""
    name = str(told["name"])
    if Path(name).name != name:
        return ("its name leads out of the folder",)
    path = signed.path.with_name(name)
    problems = []
    try:
        size = path.stat().st_size
        if size != told["size"]:
            problems.append(f"it has {size:,} octets instead of {told['size']:,}")
        if _hash(path) != told["sha256"]:
            problems.append("its SHA-256 is another")
    except FileNotFoundError:
        return ("it is not there",)
    except OSError as error:
        return (f"it cannot be read: {error.strerror}",)
    return (*problems, *_content_problems(path, signed.content, told))


def _content_problems(
    path: Path, content: Mapping[str, Any], told: Mapping[str, Any]
) -> Iterator[str]:
    sums: Mapping[str, int] = told["sums"]
    how = Format(content["format"])
    types = {
        each["name"]: pl.Int64() if each["kind"] == Kind.I64.label else pl.UInt64()
        for each in content["columns"]
    }
    try:
        rows, found = _read_back(path, how, {name: types[name] for name in sums})
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        yield f"its rows cannot be read: {' '.join(str(error).split())[:200]}"
        return
    if rows != told["rows"]:
        yield f"it has {rows:,} rows instead of {told['rows']:,}"
    for name, total in sums.items():
        if found[name] != total:
            yield f"{name} is {found[name]:,} instead of {total:,}"


def _read_back(
    path: Path, how: Format, types: Mapping[str, pl.DataType]
) -> tuple[int, dict[str, int]]:
    """Count the rows of a file and add up its columns, piece by piece."""
    wanted = [pl.len().alias(" rows"), *(pl.col(name).cast(pl.Int128).sum() for name in types)]
    rows, sums = 0, dict.fromkeys(types, 0)
    for piece in _pieces(path, how, types):
        row = piece.select(wanted).collect(engine="streaming").row(0, named=True)
        rows += int(row[" rows"])
        for name in types:
            sums[name] += int(row[name])
    return rows, sums


def _pieces(path: Path, how: Format, types: Mapping[str, pl.DataType]) -> Iterator[pl.LazyFrame]:
    """Yield the rows; of text some at a time, for polars would take in more than it needs."""
    if how is Format.PARQUET:
        yield pl.scan_parquet(path)
    elif how is Format.ARROW:
        yield pl.scan_ipc(path)
    elif how is Format.NDJSON:
        for lines in _whole_lines(path):
            yield pl.read_ndjson(lines, schema=dict(types)).lazy()
    else:
        head = b""
        for lines in _whole_lines(path):
            # Texts are taken as they stand; only what is added up has to be a number.
            yield pl.read_csv(head + lines, infer_schema=False, schema_overrides=dict(types)).lazy()
            head = head or lines[: lines.find(b"\n") + 1]


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the file in pieces of whole lines."""
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(_LINES):
            end = piece.rfind(b"\n") + 1
            if not end and len(rest) + len(piece) > _LINE_MAX:
                raise ValueError("a line is far too long")
            if end:
                yield rest + piece[:end]
                rest = piece[end:]
            else:
                rest += piece
    if rest:
        yield rest


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()
