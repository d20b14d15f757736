"""softflowd, which we did not write, watches traffic that we know: its flows add up to that."""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from tests.support import batches
from tests.support.nfcapd import need
from tests.support.programs import Programs

pytestmark = pytest.mark.foreign

UDP, TCP = 17, 6
UDP_HEADERS = {"127.0.0.1": 20 + 8, "::1": 40 + 8}
# With time stamps, as Linux sends by default: 20 + 20 + 12, and 8 more of options in the SYN.
TCP_HEADERS, TCP_SYN_MORE = 52, 8
TCP_OCTETS = 3_000_000
# libpcap hands packets over in blocks that must be full; this fills some, in a flow of its own.
FILLER = 20_000
KEYS = ("src_addr", "dst_addr", "src_port", "dst_port", "protocol")


@dataclass
class Traffic:
    """Sockets on loopback, and what each sent, IP headers included."""

    sockets: dict[str, socket.socket] = field(default_factory=dict)
    sent: dict[tuple[str, str, int, int, int], list[int]] = field(default_factory=dict)

    def open(self, name: str, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        self.sockets[name] = sock

    def udp(self, source: str, target: str, sizes: list[int]) -> None:
        """Send a datagram of each size, slowly enough for the one who watches."""
        here, there = (self.sockets[name].getsockname()[:2] for name in (source, target))
        entry = self.sent.setdefault((here[0], there[0], here[1], there[1], UDP), [0, 0])
        for number, size in enumerate(sizes):
            self.sockets[source].sendto(bytes(size), there)
            entry[0] += size + UDP_HEADERS[here[0]]
            entry[1] += 1
            if number % 100 == 99:
                time.sleep(0.005)

    def tcp(self) -> tuple[int, int]:
        """Send over one connection, one way; return the ports of client and server."""
        server = self.sockets["tcp"]
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while connection.recv(65_536):
                    pass

        reader = threading.Thread(target=serve)
        reader.start()
        with socket.create_connection(("127.0.0.1", port)) as client:
            local = client.getsockname()[1]
            client.sendall(bytes(TCP_OCTETS))
        reader.join()
        return local, port

    def ports(self) -> list[int]:
        return [sock.getsockname()[1] for sock in self.sockets.values()]


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    made = Traffic()
    for name in ("client", "server", "third", "filler"):
        made.open(name, "127.0.0.1")
    for name in ("client6", "server6"):
        made.open(name, "::1")
    made.sockets["tcp"] = socket.create_server(("127.0.0.1", 0))
    yield made
    for sock in made.sockets.values():
        sock.close()


class Softflowd:
    """A running softflowd that watches some ports on loopback."""

    def __init__(self, folder: Path, *, version: str, target: tuple[str, int], ports: list[int]):
        self._control = folder / "control"
        command = ["softflowd", "-d", "-N", "-i", "lo", "-v", version]
        command += ["-n", f"{target[0]}:{target[1]}", "-p", str(folder / "pid")]
        command += ["-c", str(self._control), "-t", "maxlife=3600", "-t", "expint=3600"]
        self._log = folder / "softflowd.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, " or ".join(f"port {port}" for port in ports)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        deadline = time.monotonic() + 20
        while not self._control.exists():
            if self.process.poll() is not None:
                pytest.skip(f"softflowd cannot watch loopback here: {self._log.read_text()}")
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        time.sleep(0.3)

    def tell(self, command: str) -> str:
        return subprocess.run(
            ["softflowctl", "-c", str(self._control), command],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout


@pytest.mark.parametrize("version", ["5", "9", "10"])
def test_totals_of_each_flow_are_what_was_sent(
    programs: Programs, tmp_path: Path, traffic: Traffic, version: str
) -> None:
    need("softflowd", "softflowctl")
    data, lake = tmp_path / "data", tmp_path / "lake"
    collector = programs.collect(data)
    watcher = Softflowd(tmp_path, version=version, target=collector.address, ports=traffic.ports())
    began = time.time()
    try:
        watcher.wait()
        traffic.udp("client", "server", [number % 1_400 for number in range(5_000)])
        traffic.udp("server", "client", [10] * 300)
        traffic.udp("client", "third", [60_000, 1])
        if version != "5":  # It cannot tell of IPv6.
            traffic.udp("client6", "server6", [800] * 250)
        client, server = traffic.tcp()
        known = dict(traffic.sent)
        traffic.udp("third", "filler", [1] * FILLER)
        time.sleep(0.5)
        said = watcher.tell("statistics")
        assert "Packets dropped by libpcap: 0" in said, said
        watcher.tell("expire-all")
        time.sleep(0.5)
        watcher.tell("shutdown")
        watcher.process.wait(20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            watcher.process.kill()
        watcher.process.wait()
    collector.stop()
    programs.run("follow", data, "--out", lake, "--once")
    flows = batches.flows(lake)
    assert flows["flow_version"].unique().to_list() == [int(version)]
    sums = flows.group_by(KEYS).agg(pl.col("octets", "packets").sum())
    found = {row[:5]: list(row[5:]) for row in sums.rows()}
    assert {key: found.get(key) for key in known} == known
    # Of TCP the payload is known, and what the kernel puts before each segment.
    for way, payload in (((client, server), TCP_OCTETS), ((server, client), 0)):
        octets, packets = found["127.0.0.1", "127.0.0.1", *way, TCP]
        assert octets == payload + packets * TCP_HEADERS + TCP_SYN_MORE
    assert len(found) == len(known) + 2 + 1
    stamps = flows.select(
        pl.col("started_at").min().dt.timestamp("ms").alias("first"),
        pl.col("ended_at").max().dt.timestamp("ms").alias("last"),
    ).row(0)
    # Its clock is right to the second.
    assert began * 1000 - 2_000 < stamps[0] <= stamps[1] < time.time() * 1000 + 2_000
    ledger = batches.health(lake).filter(pl.col("flow_version") == int(version))
    assert ledger["gap"].sum() == ledger["errors"].sum() == ledger["waiting_sets"].sum() == 0
