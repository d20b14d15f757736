"""Run a node: receiver, store, pipeline and web, looked after until told to stop.

A process that dies is started again, one that hangs is killed first. A receiver that already runs
on the data folder is used, and left running. The first line on stdout, when all of it is ready,
says where everything listens.
"""

import argparse
import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.folders import data_folder, named_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.config import Config
    from app.node.roles import Role
    from app.node.supervisor import Supervisor

EXAMPLE = """\
flowledger serve --data /var/lib/flowledger
flowledger serve --config flowledger.toml --listen 0.0.0.0:2055 --web 127.0.0.1:8080"""

_ROLES = ("receiver", "store", "pipeline", "web")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")
    parser.add_argument(
        "--data",
        type=named_folder,
        metavar="DIR",
        help="the data folder (default: [node] data, var/flowledger)",
    )
    parser.add_argument(
        "--listen",
        action="append",
        metavar="HOST:PORT",
        help="where to receive; may be repeated (default: ports 2055, 4739 and 9995)",
    )
    parser.add_argument(
        "--web", metavar="HOST:PORT", help="where health and metrics are (default: 127.0.0.1:8080)"
    )
    parser.add_argument(
        "--gateway", metavar="HOST:PORT", help="where the store answers (default: 127.0.0.1:8123)"
    )
    parser.add_argument(
        "--role", action="append", choices=_ROLES, help="run this process alone; may be repeated"
    )
    parser.add_argument("--log-format", choices=("text", "json"), help="default: text")


def run(args: argparse.Namespace) -> int:
    """Look after the node until SIGTERM or Ctrl-C."""
    # Before the imports, which take a while.
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stopping.append(number))
    from app.config import load_config
    from app.config_file import FILE_VARIABLE, config_file
    from app.node.supervisor import TURN_S, Supervisor, only_one
    from app.node.systemd import find_notifier

    overrides = _overrides(args)
    config = load_config(args.config, overrides=overrides)
    data = data_folder(args.data, config)
    file = config_file(args.config)
    environ = dict(overrides)
    if file is not None:
        environ[FILE_VARIABLE] = str(file.resolve())
    names = args.role or [name for name in _ROLES if name != "store" or not config.store.url]
    notifier = find_notifier()
    with only_one(data, names):
        supervisor = Supervisor(config.node, data, _roles(config, data, environ, names))
        is_told = False
        alive_at = 0.0
        try:
            while not stopping:
                supervisor.turn()
                if not is_told and supervisor.is_ready():
                    is_told = True
                    print(
                        _ready_line(config, supervisor, data, is_json=_is_json(config)), flush=True
                    )
                    notifier.send("READY=1")
                if notifier.interval_s and time.monotonic() >= alive_at:
                    alive_at = time.monotonic() + notifier.interval_s / 2
                    notifier.send("WATCHDOG=1")
                time.sleep(TURN_S)
        finally:
            notifier.send("STOPPING=1")
            supervisor.stop()
    return 0


def _is_json(config: "Config") -> bool:
    return config.log.format.value == "json"


def _overrides(args: argparse.Namespace) -> dict[str, str]:
    """Return what the command line says as variables, for us and for every process."""
    given = {
        "FLOWLEDGER_COLLECTOR__LISTEN": ",".join(args.listen or ()),
        "FLOWLEDGER_NODE__WEB": args.web,
        "FLOWLEDGER_STORE__ENGINE__LISTEN": args.gateway,
        "FLOWLEDGER_LOG__FORMAT": args.log_format,
    }
    return {name: text for name, text in given.items() if text}


def _roles(
    config: "Config", data: Path, environ: "Mapping[str, str]", names: list[str]
) -> "list[Role]":
    """Return the processes in the order in which they are started and stopped."""
    from dataclasses import asdict

    from app.node import roles
    from collector.receiver.process import ProcessConfig

    folder = ("--data", str(data.resolve()))
    engine = json.dumps(asdict(config.store.engine))
    made: dict[str, Role] = {
        "receiver": roles.ReceiverRole(
            ProcessConfig(config.collector.receiver, config.collector.journal),
            data=data,
            is_kept=config.node.keep_receiver,
        ),
        "pipeline": roles.ChildRole(
            "pipeline",
            ("app.node.loading", *folder),
            data=data,
            environ=environ,
            is_ready=roles.loads(data),
        ),
        "web": roles.ChildRole(
            "web",
            ("app.node.web", *folder),
            data=data,
            environ=environ,
            is_ready=roles.says_its_pid(data, "web"),
        ),
        "store": roles.ChildRole(
            "store",
            ("storage.clickhouse.engine", *folder, "--settings", engine),
            data=data,
            environ=environ,
            is_ready=roles.answers(data),
        ),
    }
    return [role for name, role in made.items() if name in names]


def _ready_line(config: "Config", supervisor: "Supervisor", data: Path, *, is_json: bool) -> str:
    from app.node.roles import ReceiverRole, store_url
    from core.run_files import read_run_file

    listen: tuple[str, ...] = ()
    for ward in supervisor.wards:
        if isinstance(ward.role, ReceiverRole):
            listen = ward.role.listen
    said = {
        "event": "ready",
        "listen": list(listen),
        "gateway": config.store.url or store_url(data),
        "web": read_run_file(data, "web").get("url", ""),
        "data": str(data.resolve()),
    }
    if is_json:
        return json.dumps(said)
    parts = [
        f"routers: {', '.join(listen)}" if listen else "",
        f"store: {said['gateway']}" if said["gateway"] else "",
        f"health: {said['web']}/readyz" if said["web"] else "",
        f"data: {data}",
    ]
    return "ready; " + "; ".join(part for part in parts if part)
