"""What is wrong with a node, in words; empty when it does its work."""

import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.node.config import Config
from app.node.roles import NAMES, store_url
from core.run_files import read_run_file
from storage.clickhouse.config import Config as StoreConfig

_STALE_S = 15.0
_PING_S = 2.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong."""

    part: str
    text: str
    is_blocking: bool = True  # Else it is only mentioned.

    def line(self) -> str:
        """Return it as one line."""
        return f"{self.part}: {self.text}"


def examine(config: Config, store: StoreConfig, data: Path) -> list[Trouble]:
    """Return everything that is wrong now, what blocks the work first."""
    troubles = [
        *_processes(data),
        *_receiver(read_run_file(data, "receiver")),
        *_store(store, data),
        *_pipeline(config, read_run_file(data, "pipeline")),
        *_disk(config, data),
    ]
    return sorted(troubles, key=lambda each: not each.is_blocking)


def _processes(data: Path) -> Iterator[Trouble]:
    node = read_run_file(data, "node")
    if not node:
        yield Trouble("node", "no supervisor runs on this folder; start `flowledger serve`")
        return
    if _age_s(node) > _STALE_S:
        yield Trouble("node", f"the supervisor has said nothing for {_age_s(node):.0f} s")
    for name in NAMES:
        role = node.get("roles", {}).get(name)
        if role and role.get("state") != "up":
            why = f" ({role['why']})" if role.get("why") else ""
            yield Trouble(name, f"{role.get('state')}{why}")


def _receiver(said: Mapping[str, Any]) -> Iterator[Trouble]:
    if not said:
        yield Trouble("receiver", "is not running, or says nothing")
        return
    if _age_s(said) > _STALE_S:
        yield Trouble("receiver", f"has said nothing for {_age_s(said):.0f} s")
    if said.get("journal_error"):
        yield Trouble("receiver", f"the journal cannot write: {said['journal_error']}")


def _store(config: StoreConfig, data: Path) -> Iterator[Trouble]:
    url = config.url or store_url(data)
    if not url:
        yield Trouble("store", "does not answer yet")
        return
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=_PING_S) as answer:  # noqa: S310
            answer.read()
    except (OSError, urllib.error.URLError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield Trouble("store", f"{url} does not answer: {reason}")


def _pipeline(config: Config, said: Mapping[str, Any]) -> Iterator[Trouble]:
    if not said:
        yield Trouble("pipeline", "is not running, or says nothing")
        return
    if _age_s(said) > _STALE_S:
        yield Trouble("pipeline", f"has said nothing for {_age_s(said):.0f} s")
    if said.get("why"):
        yield Trouble("pipeline", f"{said.get('state', 'in trouble')}: {said['why']}")
    lag_s = float(said.get("lag_s") or 0)
    if lag_s > config.lag_max:
        yield Trouble(
            "pipeline", f"the store is {lag_s:.0f} s behind, more than {config.lag_max:g} s"
        )
    most = float(said.get("spool_octets_max") or 0)
    used = float(said.get("spool_octets") or 0)
    if most and used / most > config.spool_full_at:
        yield Trouble("pipeline", f"{used / most:.0%} of the spool is in use")
    if said.get("quarantined"):
        yield Trouble(
            "pipeline",
            f"{said['quarantined']} rows that the store refused lie in quarantine; "
            "`flowledger quarantine` shows them",
            is_blocking=False,
        )


def _disk(config: Config, data: Path) -> Iterator[Trouble]:
    try:
        free = shutil.disk_usage(data).free
    except OSError as error:
        yield Trouble("disk", f"{data}: {error.strerror}")
        return
    if free < config.disk_free_min:
        yield Trouble(
            "disk",
            f"{free / 2**20:,.0f} MiB are free below {data}, less than "
            f"{config.disk_free_min / 2**20:,.0f}",
        )


def _age_s(said: Mapping[str, Any]) -> float:
    return (time.time_ns() - int(said.get("at_ns") or 0)) / 1e9
