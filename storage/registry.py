"""The exporters we know: whose each is, what it is called, and whether its flows count.

A file until there is a database for it. Whoever sends and is not in it is added unapproved: its
flows are kept, and count for nobody until somebody says whose they are.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from core.clock import Clock, SystemClock
from core.errors import FlowledgerError

FILE = Path("registry") / "exporters.json"  # Below the data folder.
DEFAULT_REALM = "default"
# Anybody can send under any address; what is seen beyond these is counted only.
UNAPPROVED_MAX = 1_000

_LAYOUT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAPPED = bytes(10) + b"\xff\xff"
_MOST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Exporter:
    """One router that sends flows."""

    id: int  # Never given twice; what rows carry as exporter_id.
    addr: str
    name: str = ""
    operator_id: int = 0
    realm: str = DEFAULT_REALM
    is_approved: bool = False
    counts_usage: bool = True  # Of an edge and a core router one only may be billed by.
    sampling_rate: int = 0  # What to take instead of what it says; 0 takes what it says.
    mtu: int = 0  # Largest packet on its links; 0 is the decoder's.
    first_seen: str = ""  # ISO 8601, UTC.
    note: str = ""

    @property
    def label(self) -> str:
        """Its name, else its address."""
        return self.name or self.addr

    @property
    def packed(self) -> bytes:
        """Its address as rows hold it."""
        return packed(self.addr)


class RegistryError(FlowledgerError):
    """The registry cannot be read or written, or what was asked contradicts it."""


def packed(text: str) -> bytes:
    """Return an address as 16 octets, IPv4 mapped; raise ``RegistryError`` if it is none."""
    try:
        address = ip_address(text)
    except ValueError as error:
        raise RegistryError(f"{text!r} is no address; write one like 192.0.2.1") from error
    return _MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def written(octets: bytes) -> str:
    """Return 16 octets as a person writes the address."""
    if octets[:12] == _MAPPED:
        return str(IPv4Address(octets[12:]))
    return str(IPv6Address(octets))


class Registry:
    """The file, as it was when last looked at; several processes may use and change it."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = path
        self.unseen = 0  # How often a sender was not noted, for want of room.
        self._clock = clock or SystemClock()
        self._stamp: tuple[int, ...] = ()
        self._next_id = 1
        self._by_addr: dict[bytes, Exporter] = {}
        self._waiting = 0  # How many nobody approved.
        self.refresh()

    @classmethod
    def of(cls, data: Path) -> "Registry":
        """Return the registry of a data folder."""
        return cls(data / FILE)

    @property
    def version(self) -> tuple[int, ...]:
        """What changes whenever the file does; one system call."""
        try:
            status = self.path.stat()
        except OSError:
            return ()
        return (status.st_mtime_ns, status.st_ino, status.st_size)

    def refresh(self) -> bool:
        """Read the file if it is another than before; say whether it was."""
        version = self.version
        if version == self._stamp:
            return False
        self._read()
        self._stamp = version
        return True

    def entries(self) -> list[Exporter]:
        """Return all exporters, in the order in which they came."""
        return sorted(self._by_addr.values(), key=lambda each: each.id)

    def find(self, addr: bytes) -> Exporter | None:
        """Return the approved exporter with this address of 16 octets: whose flows may count."""
        found = self._by_addr.get(addr)
        return found if found is not None and found.is_approved else None

    def named(self, text: str) -> Exporter | None:
        """Return the exporter with this name, address or number, approved or not."""
        for each in self._by_addr.values():
            if text in {each.name, each.addr} or text == str(each.id):
                return each
        with contextlib.suppress(RegistryError):
            return self._by_addr.get(packed(text))
        return None

    def by_name(self, name: str) -> Exporter | None:
        """Return the exporter with this name."""
        return next((each for each in self._by_addr.values() if name and each.name == name), None)

    def exporter_label(self, address: str) -> str:
        """Return the name of the exporter with this address, else the address."""
        found = self.named(address)
        return found.label if found is not None else address

    def see(self, addresses: Iterable[bytes]) -> list[Exporter]:
        """Note senders of 16 octets; return those that were new. Known ones cost a look-up.

        ``RegistryError`` says that the file cannot be written: they are new the next time too.
        """
        new = [each for each in dict.fromkeys(addresses) if each not in self._by_addr]
        if new and not self._room():
            self.refresh()  # Somebody may have approved some, or forgotten all.
        added: list[Exporter] = []
        if not new or not self._room():
            self.unseen += len(new)
            return added
        with self._changing():
            for addr in new:
                if addr in self._by_addr:
                    continue  # Another process was first.
                if self._room():
                    added.append(self._add(addr))
                else:
                    self.unseen += 1
        return added

    def approve(self, text: str, **changes: Any) -> Exporter:
        """Let an exporter's flows count, and set what else is given."""
        return self.change(text, is_approved=True, **changes)

    def change(self, text: str, **changes: Any) -> Exporter:
        """Set fields of the exporter with this name, address or number; an address is added."""
        with self._changing():
            found = self.named(text)
            if found is None:
                try:
                    found = self._add(packed(text))
                except RegistryError as error:
                    raise RegistryError(
                        f"no exporter is called {text!r}; `flowledger registry list` shows them, "
                        "and an address adds one"
                    ) from error
            changed = _checked(dataclasses.replace(found, **changes))
            other = self.by_name(changed.name)
            if other is not None and other.id != changed.id:
                raise RegistryError(f"{changed.name} is what {other.addr} is called already")
            self._by_addr[changed.packed] = changed
            self._count()
        return changed

    def forget_unapproved(self) -> int:
        """Take out all that nobody approved; those that still send come back."""
        with self._changing():
            before = len(self._by_addr)
            self._by_addr = {addr: each for addr, each in self._by_addr.items() if each.is_approved}
            self._count()
            return before - len(self._by_addr)

    def _count(self) -> None:
        self._waiting = sum(not each.is_approved for each in self._by_addr.values())

    def _room(self) -> bool:
        return self._waiting < UNAPPROVED_MAX

    def _add(self, addr: bytes) -> Exporter:
        seen = datetime.fromtimestamp(self._clock.now_ns() // 1_000_000_000, UTC)
        made = Exporter(self._next_id, written(addr), first_seen=seen.isoformat())
        self._next_id += 1
        self._by_addr[addr] = made
        self._waiting += 1
        return made

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, on the newest state, and write what was made of it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o640)
        except OSError as error:
            raise RegistryError(f"cannot write {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            try:
                yield
                self._write()
            except BaseException:
                self._stamp = ()
                self._read()  # Nothing of it counts.
                raise
        finally:
            os.close(lock)

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["layout"] > _LAYOUT:
                raise RegistryError(f"{self.path} was written by a newer Flowledger")
            known = {field.name for field in dataclasses.fields(Exporter)}
            found = [
                Exporter(**{name: value for name, value in each.items() if name in known})
                for each in content["exporters"]
            ]
            self._next_id = int(content["next_id"])
            self._by_addr = {each.packed: _checked(each) for each in found}
        except FileNotFoundError:
            self._next_id, self._by_addr = 1, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(f"{self.path} cannot be read ({error}); restore it") from error
        self._count()

    def _write(self) -> None:
        content = {
            "layout": _LAYOUT,
            "next_id": self._next_id,
            "exporters": [dataclasses.asdict(each) for each in self.entries()],
        }
        partial = self.path.with_suffix(".partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            raise RegistryError(f"cannot write {self.path}: {error.strerror}") from error
        self._stamp = self.version


def _checked(exporter: Exporter) -> Exporter:
    """Refuse values that would mean nothing, or something else, elsewhere."""
    for field in dataclasses.fields(Exporter):
        value = getattr(exporter, field.name)
        if type(value) is not type(field.default) and field.name not in {"id", "addr"}:
            raise RegistryError(f"exporter {exporter.addr}: {field.name} cannot be {value!r}")
    if exporter.name and not _NAME.fullmatch(exporter.name):
        raise RegistryError(
            f"{exporter.name!r} is no name of an exporter: write letters, digits, . _ -"
        )
    if exporter.name and (exporter.name.isdecimal() or _is_address(exporter.name)):
        raise RegistryError(f"{exporter.name!r} would be taken for a number or an address")
    if not _NAME.fullmatch(exporter.realm):
        raise RegistryError(f"{exporter.realm!r} is no realm: write letters, digits, . _ -")
    for name in ("operator_id", "sampling_rate"):
        if not 0 <= getattr(exporter, name) <= _MOST:
            raise RegistryError(f"{name} {getattr(exporter, name)}: write 0 to {_MOST}")
    if exporter.mtu and not 576 <= exporter.mtu <= 65_535:
        raise RegistryError(f"mtu {exporter.mtu} is no packet size: write 576 to 65535, or 0")
    return exporter


def _is_address(text: str) -> bool:
    with contextlib.suppress(ValueError):
        ip_address(text)
        return True
    return False
