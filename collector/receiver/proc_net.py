"""What Linux tells about UDP sockets in /proc: who holds a port, and what each socket dropped."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TABLES = {socket.AF_INET: "udp", socket.AF_INET6: "udp6"}
# Columns of a line, split at blanks.
_LOCAL, _INODE, _DROPS = 1, 9, 12


def drops_by_inode(proc: Path = Path("/proc")) -> dict[int, int]:
    """Return the kernel's drop counter (32 bits) of each UDP socket, by inode."""
    drops = {}
    for name in _TABLES.values():
        for columns in _rows(proc / "net" / name):
            drops[int(columns[_INODE])] = int(columns[_DROPS]) & 0xFFFF_FFFF
    return drops


def holder_of(
    family: socket.AddressFamily, port: int, proc: Path = Path("/proc")
) -> tuple[int, str] | None:
    """Return pid and name of a process that has this UDP port, where /proc lets us see it."""
    inodes = {
        f"socket:[{columns[_INODE]}]"
        for columns in _rows(proc / "net" / _TABLES[family])
        if int(columns[_LOCAL].rpartition(":")[2], 16) == port
    }
    if not inodes:
        return None
    for process in proc.glob("[0-9]*"):
        if not inodes.isdisjoint(_open_files(process)):
            with suppress(OSError):
                return int(process.name), (process / "comm").read_text().strip()
    return None


def _open_files(process: Path) -> Iterator[str]:
    """Yield what a process's descriptors point at, as far as we may look."""
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):  # Closed in the meantime.
                yield str(descriptor.readlink())


def _rows(path: Path) -> list[list[str]]:
    try:
        lines = path.read_text("ascii").splitlines()
    except OSError:
        return []  # Not Linux, or no IPv6.
    return [line.split() for line in lines[1:]]
