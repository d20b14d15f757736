"""A way to a server that can be cut before a request arrives, or before its answer does."""

import socket
import threading
from contextlib import suppress
from typing import Self


class CuttingProxy:
    """Passes connections on to a port of this machine, until it meets what it shall cut at."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._cut_at = b""
        self._when = ""
        self._requests: list[bytes] = []
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self, at: bytes, *, when: str) -> None:
        """Cut requests that hold these octets: before the server sees them, or after it has."""
        self._cut_at, self._when = at, when

    def seen(self, octets: bytes) -> int:
        """Return how many requests held these octets."""
        return sum(each.count(octets) for each in self._requests)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(10)
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open += [client, server]
            cutting = threading.Event()
            for target, ends in ((self._up, (client, server)), (self._down, (server, client))):
                thread = threading.Thread(target=target, args=(*ends, cutting))
                thread.start()
                self._threads.append(thread)

    def _up(self, client: socket.socket, server: socket.socket, cutting: threading.Event) -> None:
        with suppress(OSError):
            while octets := client.recv(1 << 20):
                self._requests.append(octets)
                if self._cut_at and self._cut_at in octets:
                    cutting.set()
                    if self._when == "before":
                        break
                server.sendall(octets)
        if cutting.is_set() and self._when == "before":
            _end(client)
        _end(server)

    def _down(self, server: socket.socket, client: socket.socket, cutting: threading.Event) -> None:
        with suppress(OSError):
            while octets := server.recv(1 << 20):
                if cutting.is_set():
                    break
                client.sendall(octets)
        _end(client)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
