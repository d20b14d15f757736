"""The web process: health and metrics over HTTP."""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

from app.config import Config, load_config
from app.node.health import examine
from app.node.roles import NAMES, WEB
from collector.receiver.listening import parse_listen
from core.errors import FlowledgerError
from core.log import get_logger
from core.metrics import Metrics
from core.run_files import FOLDER, forget_run_files, read_run_file, write_run_file

log = get_logger(__name__)
_TELL_S = 1.0
_TEXT = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Pages:
    """``/healthz``, ``/readyz`` and ``/metrics``, as an ASGI application."""

    def __init__(self, config: Config, data: Path) -> None:
        self._config, self._data = config, data

    async def __call__(self, scope: Mapping[str, Any], _receive: object, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        page = {
            "/": self._front,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }.get(scope["path"])
        if scope["method"] not in ("GET", "HEAD"):
            status, kind, text = 405, _TEXT, "only GET is answered\n"
        elif page is None:
            status, kind, text = 404, _TEXT, "there is /healthz, /readyz and /metrics\n"
        else:
            status, kind, text = await asyncio.to_thread(page)
        content = text.encode()
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(content)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = content if scope["method"] == "GET" else b""
        await send({"type": "http.response.body", "body": body})

    def _front(self) -> tuple[int, str, str]:
        return 200, _TEXT, "Flowledger: /healthz, /readyz, /metrics\n"

    def _healthz(self) -> tuple[int, str, str]:
        """Tell each process's state as JSON; whoever answers this is alive."""
        node = read_run_file(self._data, "node")
        shown = {"status": "alive", "roles": node.get("roles", {})}
        return 200, "application/json", json.dumps(shown, indent=2) + "\n"

    def _readyz(self) -> tuple[int, str, str]:
        troubles = examine(self._config.node, self._config.store, self._data)
        lines = [each.line() for each in troubles]
        is_ready = not any(each.is_blocking for each in troubles)
        text = "\n".join(["ready" if is_ready else "not ready", *lines]) + "\n"
        return 200 if is_ready else 503, _TEXT, text

    def _metrics(self) -> tuple[int, str, str]:
        parts = [_node_metrics(self._config, self._data)]
        for path in sorted((self._data / FOLDER).glob("*.metrics")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                parts.append(path.read_text(encoding="utf-8"))
        return 200, _PROMETHEUS, "\n".join(part.strip("\n") for part in parts if part) + "\n"


def _node_metrics(config: Config, data: Path) -> str:
    metrics = Metrics()
    up = metrics.gauge("flowledger_process_up", "1 while the process does its work.", ("role",))
    restarts = metrics.gauge(
        "flowledger_process_restarts", "How often it was started again.", ("role",)
    )
    roles = read_run_file(data, "node").get("roles", {})
    for name in NAMES:
        role = roles.get(name)
        if role:
            up.set(float(role.get("state") == "up"), role=name)
            restarts.set(float(role.get("restarts", 0)), role=name)
    troubles = examine(config.node, config.store, data)
    metrics.gauge("flowledger_node_ready", "1 while /readyz says so.").set(
        float(not any(each.is_blocking for each in troubles))
    )
    with contextlib.suppress(OSError):
        metrics.gauge("flowledger_disk_free_octets", "Free below the data folder.").set(
            shutil.disk_usage(data).free
        )
    return metrics.render()


class _Server(uvicorn.Server):
    """Says where it answers, and every second that it does."""

    def __init__(self, config: uvicorn.Config, data: Path, url: str) -> None:
        super().__init__(config)
        self._data, self._url, self._tell_at = data, url, 0.0

    async def on_tick(self, counter: int) -> bool:
        if time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + _TELL_S
            values = {"pid": os.getpid(), "at_ns": time.time_ns(), "url": self._url}
            write_run_file(self._data, WEB, values)
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Uvicorn's own raises the signal again at the end.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True


def serve(config: Config, data: Path) -> None:
    """Answer until SIGTERM."""
    address = parse_listen(config.node.web)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address.host, address.port))
            listener.listen(128)
        except OSError as error:
            raise FlowledgerError(
                f"the web cannot listen on {config.node.web}: {error.strerror}; choose another "
                "address with --web"
            ) from error
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        pages = Pages(config, data)
        settings = uvicorn.Config(
            pages,
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="critical",
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        server = _Server(settings, data, f"http://{shown}:{port}")
        try:
            asyncio.run(server.serve(sockets=[listener]))
        finally:
            forget_run_files(data, WEB)


def main() -> int:
    """``python -m app.node.web --data DIR``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    try:
        serve(load_config(), args.data)
    except FlowledgerError as error:
        sys.stderr.write("".join(f"flowledger: {line}\n" for line in error.lines()))
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
