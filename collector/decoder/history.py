"""Every template that was ever in force, with its time, in a file beside the journal.

A journal can so be decoded again from any place: the template that describes its data may have
come hours before that place.
"""

import contextlib
import json
from bisect import bisect_right
from pathlib import Path
from typing import Any

from collector.decoder.streams import Stream
from collector.decoder.templates import Template, pack, unpack
from core.log import get_logger

log = get_logger(__name__)

FILE_NAME = "templates.jsonl"
VERSIONS_MAX = 64  # Layouts kept of one key; the oldest give way.
ENTRIES_MAX = 32_768  # Of all keys together, in memory and in the file.

_Key = tuple[str, int, int, int, int]


class History:
    """Templates by stream and id, each from a time on; a withdrawal is one that is None."""

    def __init__(self, path: Path | None = None, *, is_writable: bool = False) -> None:
        self._path = path if is_writable else None
        self._entries = 0
        self._is_behind = False  # The file lacks something: a full disk has refused it.
        self._since: dict[_Key, list[int]] = {}
        self._templates: dict[_Key, list[Template | None]] = {}
        if path is not None and path.exists():
            self._read(path)

    def add(self, stream: Stream, number: int, now_ns: int, template: Template | None) -> None:
        """Note what came into force, and write it down at once."""
        key = _key(stream, number)
        known = self._templates.get(key)
        if known and known[-1] == template:
            return
        if template is None and not known:
            return  # The end of something that never was.
        if self._entries >= ENTRIES_MAX:
            self._halve()
        self._keep(key, now_ns, template)
        if self._is_behind:
            self.catch_up()
        elif self._path is not None:
            try:
                with self._path.open("a", encoding="ascii") as file:
                    file.write(_line(key, now_ns, template))
            except OSError as error:
                self._fall_behind(error)

    def catch_up(self) -> None:
        """Write the file anew where the disk has refused something. It never raises for that."""
        if not self._is_behind or self._path is None:
            return
        try:
            self._rewrite(self._path)
        except OSError as error:
            self._fall_behind(error)
        else:
            self._is_behind = False

    def at(self, stream: Stream, number: int, when_ns: int) -> Template | None:
        """Return the template that was in force at a time."""
        key = _key(stream, number)
        place = bisect_right(self._since.get(key, []), when_ns)
        return self._templates[key][place - 1] if place else None

    def _keep(self, key: _Key, since_ns: int, template: Template | None) -> None:
        since = self._since.setdefault(key, [])
        templates = self._templates.setdefault(key, [])
        place = bisect_right(since, since_ns)
        since.insert(place, since_ns)
        templates.insert(place, template)
        self._entries += 1
        if len(since) > VERSIONS_MAX:
            del since[0], templates[0]
            self._entries -= 1

    def _halve(self) -> None:
        """Forget the keys that changed longest ago, here and in the file."""
        keys = sorted(self._since, key=lambda key: self._since[key][-1])
        for key in keys[: len(keys) // 2 + 1]:
            self._entries -= len(self._since.pop(key))
            del self._templates[key]
        self._is_behind = True
        self.catch_up()

    def _rewrite(self, path: Path) -> None:
        temporary = path.with_suffix(".part")
        try:
            with temporary.open("w", encoding="ascii") as file:
                for key, since in self._since.items():
                    for when_ns, template in zip(since, self._templates[key], strict=True):
                        file.write(_line(key, when_ns, template))
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def _fall_behind(self, error: OSError) -> None:
        self._is_behind = True
        log.warning("template history is not written", file=str(self._path), error=error.strerror)

    def _read(self, path: Path) -> None:
        lines = path.read_text("ascii", "replace").splitlines()
        for line in lines[-ENTRIES_MAX:]:
            try:
                entry = json.loads(line)
                template = unpack(entry["template"]) if "template" in entry else None
                addr, port, version, domain, number = entry["key"]
            except (ValueError, KeyError, TypeError):
                # The last line of a process that was killed: another behind it would be lost too.
                self._is_behind = True
                continue
            self._keep((addr, port, version, domain, number), entry["since_ns"], template)


def _line(key: _Key, since_ns: int, template: Template | None) -> str:
    entry: dict[str, Any] = {"key": key, "since_ns": since_ns}
    if template is not None:
        entry["template"] = pack(template)
    return json.dumps(entry) + "\n"


def _key(stream: Stream, number: int) -> _Key:
    return (stream.addr.hex(), stream.port, stream.version, stream.domain, number)
