"""The store process: folder held, engine opened, HTTP answered, until it is told to stop."""

import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from core.errors import FlowledgerError
from core.log import get_logger
from storage.clickhouse.engine import folder as store_folder
from storage.clickhouse.engine.config import Config
from storage.clickhouse.engine.gateway import Gateway
from storage.clickhouse.engine.lanes import Lanes
from storage.clickhouse.engine.request import is_loopback

log = get_logger(__name__)
LOADABLE = ("spool", "quarantine")  # Folders below the data folder that INFILE may name.
_GRACE_S = 5


def serve(data: Path, config: Config, *, is_tethered: bool = False) -> None:
    """Answer until SIGTERM or SIGINT; when tethered, also until stdin ends."""
    with store_folder.hold(data) as folder, _listening(config) as listener:
        tokens = store_folder.tokens(folder)
        _check_tls(config)  # Before the engine: a process that ends without closing it crashes.
        with contextlib.closing(_open(folder / store_folder.ENGINE, config)) as lanes:
            _let_crashes_end_us()
            _report_broken(lanes)
            gateway = Gateway(
                lanes,
                config,
                tokens,
                infiles=tuple((data / name).resolve() for name in LOADABLE),
                is_open_to_loopback=is_loopback([listener.getsockname()[0]]),
            )
            server = _Server(
                _uvicorn_config(gateway, config), folder, _url(listener, config), tokens
            )
            server.on_turn = lambda: gateway.metrics.tell(data)
            if is_tethered:
                threading.Thread(target=server.stop_at_end_of_stdin, daemon=True).start()
            try:
                asyncio.run(server.serve(sockets=[listener]))
            finally:
                store_folder.withdraw(folder)
                gateway.metrics.forget(data)
                lanes.close()
                gateway.close()
                log.info("store stopped")


def _url(listener: socket.socket, config: Config) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if config.tls_cert_file else 'http'}://{shown}:{port}"


def _check_tls(config: Config) -> None:
    if not config.tls_cert_file:
        return
    chain, key = config.tls_cert_file, config.tls_key_file
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
    except (OSError, ssl.SSLError) as error:
        raise FlowledgerError(
            f"the store cannot answer HTTPS with {chain} and {key}: {error}; give a certificate "
            "chain and its key as PEM with [store.engine] tls_cert_file and tls_key_file"
        ) from error


def _uvicorn_config(gateway: Gateway, config: Config) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        http="httptools",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="critical",
        server_header=False,
        date_header=True,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=config.tls_cert_file or None,
        ssl_keyfile=config.tls_key_file or None,
    )


class _Server(uvicorn.Server):
    """Says where it answers as soon as it does, and stops in order."""

    def __init__(self, config: uvicorn.Config, folder: Path, url: str, tokens: Any) -> None:
        super().__init__(config)
        self._folder, self._url, self._tokens = folder, url, tokens
        self.on_turn: Callable[[], None] = lambda: None

    async def on_tick(self, counter: int) -> bool:
        self.on_turn()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        store_folder.publish(self._folder, self._url, self._tokens)
        log.info("store answers", url=self._url)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Uvicorn's own raises the signal again at the end, before anything is closed.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True

    def stop_at_end_of_stdin(self) -> None:
        """Stop when whoever started us is gone."""
        with contextlib.suppress(OSError):
            while sys.stdin.buffer.read(1):
                pass
        self.should_exit = True


@contextlib.contextmanager
def _listening(config: Config) -> Iterator[socket.socket]:
    host, _, port = config.listen.rpartition(":")
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by connections: asyncio sets it only where a socket names its protocol, and
        # without it the body of an answer waits 40 ms for the head to be acknowledged.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            listener.bind((bare, int(port)))
            listener.listen(256)
        except OSError as error:
            raise FlowledgerError(
                f"the store cannot listen on {config.listen}: {error.strerror}; "
                "choose another address with [store.engine] listen"
            ) from error
        yield listener


def _let_crashes_end_us() -> None:
    """Undo chDB's handlers of faults: they wait for ever, and a crash has to end the process.

    Then it is started again, and the stack of each Python thread stands in the log.
    """
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # Where stderr is no file.
        faulthandler.enable()


def _open(path: Path, config: Config) -> Lanes:
    os.environ.setdefault("CHDB_DISABLE_TELEMETRY", "1")
    try:
        return Lanes(path, config)
    except FlowledgerError:
        raise
    except Exception as error:
        text = str(error).split("Stack trace", maxsplit=1)[0].strip()
        raise FlowledgerError(
            f"store {path} cannot be opened: {text[:500]}; restore the backup, or move the folder "
            "away to begin anew (what the journal still holds is loaded again)"
        ) from error


def _report_broken(lanes: Lanes) -> None:
    """Say which parts the engine set aside because they were torn."""
    rows = lanes.ask(
        "SELECT database, table, name, reason FROM system.detached_parts "
        "WHERE startsWith(reason, 'broken')"
    )
    for line in rows.splitlines():
        database, table, name, reason = line.split("\t")
        log.error(
            "a part of a table is damaged and was set aside; restore its rows from the backup",
            table=f"{database}.{table}",
            part=name,
            reason=reason,
        )
