"""nfdump beside us: the same filter finds the same flows, with the same packets and octets."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.schema import FLOWS
from storage.clickhouse.client import Store
from storage.clickhouse.filters import compile_filter
from tests.support import spooled
from tests.support.nfcapd import Nfcapd, need
from tests.support.programs import Programs, wait_until

pytestmark = pytest.mark.foreign

Sums = tuple[int, int, int]  # Flows, packets, octets.

# The traffic in which they look: its addresses, ports and interfaces are those of the seed.
SIMULATION = (
    *("--duration", "4m", "--speed", 200, "--flat", "--subscribers", 120, "--seed", 5),
    *("--routers", 6, "--versions", "v5,v9,ipfix,ipfix7,v9-generic,ipfix-generic"),
)
# What this nfdump does not keep is left out: ICMP's type of v9, masks of v5, times of IPFIX as
# MikroTik sends them (since the router's start). It needs a database to filter by AS at all.
FILTERS = """
any
proto tcp
proto udp
proto 17
proto icmp
not proto tcp
proto icmp6 or proto icmp
inet
inet6
ipv4 and proto udp
ipv6 and proto tcp
src ip {src}
dst ip {src}
ip {src}
host {src}
src or dst ip {src}
src ip {src} and dst ip {dst}
not ip {src}
ip in [{src}, {dst}]
src ip in [{src} {dst}]
ip in [100.64.0.0/16]
dst ip in [2001:db8::/32]
net 172.16/12
net 100.64/10
ip {six}
not src ip {six}
net 100.64.0.0/10
src net 100.64.0.0/16
dst net 100.64.0.0/16
src net 100.64.0.0 255.255.255.0
net 0.0.0.0/0
net 2001:db8::/32
src net 2000::/3
dst net 2000::/3 and not src net 2001:db8::/32
src and dst net 0.0.0.0/0
port 443
src port 443
dst port 443
dst port in [80, 443]
port in [53 123]
src and dst port > 1024
dst port < 1024 and not proto icmp and not proto icmp6
dst port >= 1024 and proto udp
dst port le 443 and not proto icmp and not proto icmp6
src port eq 53 or src port gt 60000
port 0
dst port 2048 and proto icmp and not nfversion 9
dst port 0 and not nfversion 9
src port 0 and not proto icmp
bytes > 1M
bytes > 1k and bytes < 10k
bytes = 40
bytes gt 0x400
packets > 10
packets 1
packets <= 2 and proto tcp
bpp < 100
bpp > 1000
bps > 1m and not nfversion 10
bps > 100k and packets > 5 and not nfversion 10
pps > 100 and not nfversion 10
pps = 0 and not nfversion 10
duration > 5000 and not nfversion 10
duration 0 and not nfversion 10
duration < 100 and packets > 1 and not nfversion 10
flags S
flags S and not flags A
flags AS
flags SAF
not flags A
flags S and not flags AFRPU
not flags AR and proto tcp
not (flags FR)
not (flags AR or proto udp)
not (not flags AF)
not flags X
flags R
flags X
flags 2
flags > 16
tos 184
tos 0
tos > 0
if 1
in if 1
out if 1
not if 1
src mask 32 and not nfversion 5
dst mask 16 and not nfversion 5
mask 32 and not nfversion 5
src mask 0 and not nfversion 5
icmp-type 8 and not nfversion 9
icmp-type 3 and icmp-code 3 and not nfversion 9
not icmp-type 8 or nfversion 9
next ip 192.0.2.254
next ip {src}
src vlan 100
mac {mac}
src mac {mac}
in src mac {mac}
src xip {nat}
xip {nat}
src xnet 203.0.113.0/24
src xport > 1024
flowdir ingress and proto tcp
nfversion 5
nfversion 9 or nfversion 10
proto tcp and (dst port 443 or dst port 80) and bytes > 10k
proto tcp or proto udp and port 53
not proto tcp and not proto udp
not (proto tcp or proto udp)
( src ip {src} or dst ip {src} ) and not ( port 443 ) # what is not web
"""
AS_FILTERS = {
    "as 0": lambda src, dst: src == 0 or dst == 0,
    "src as 0": lambda src, _: src == 0,
    "dst as > 0": lambda _, dst: dst > 0,
    "as in [0, 15169]": lambda src, dst: {src, dst} & {0, 15169},
    "src and dst as 0": lambda src, dst: src == dst == 0,
}


@dataclass(frozen=True)
class Both:
    """The same flows in a store as `serve` fills it and in files of nfcapd; values to ask for."""

    store: Store
    files: Path
    words: dict[str, str]

    def ours(self, text: str) -> Sums:
        condition = compile_filter(text, FLOWS)
        sql = f"SELECT count(), sum(packets), sum(octets) FROM flows WHERE {condition.sql}"
        ((count, packets, octets),) = self.store.rows(sql, condition.params)
        return count, packets, octets

    def theirs(self, text: str) -> Sums:
        rows = self.printed("%pkt %byt", text)
        return len(rows), sum(row[0] for row in rows), sum(row[1] for row in rows)

    def printed(self, shape: str, text: str) -> list[tuple[int, ...]]:
        ran = subprocess.run(
            ["nfdump", "-q", "-N", "-R", str(self.files), "-o", f"fmt:{shape}", text],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        lines = ran.stdout.splitlines() if "No matching" not in ran.stdout else []
        return [tuple(int(word) for word in line.split()) for line in lines if line.strip()]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    need("nfcapd", "nfdump")
    folder = tmp_path_factory.mktemp("both")
    (folder / "programs").mkdir()
    data = folder / "data"
    with Programs(folder / "programs") as programs, spooled.store_of(data) as (_, store):
        collector = programs.collect(data)
        sent = programs.run("simulate", "--to", collector.target, *SIMULATION)
        collector.stop()
        programs.load(data)
        with Nfcapd(folder / "nfcapd") as receiving:
            for segment in sorted((data / "journal").glob("*.flj")):
                to = f"127.0.0.1:{receiving.port}"
                programs.run("replay", segment, "--to", to, "--rate", 4_000)
            receiving.stop()
        count = "SELECT count() FROM flows"
        wait_until(lambda: store.rows(count)[0][0] >= sent["flows"], "every flow is loaded")
        yield Both(store, receiving.folder, _words(store))


def _words(store: Store) -> dict[str, str]:
    """Return values that the traffic has, the most frequent of each."""
    asked = {
        "src": "toIPv4(src_addr) WHERE src_addr BETWEEN toIPv6('::ffff:0.0.0.0') AND "
        "toIPv6('::ffff:255.255.255.255')",
        "dst": "toIPv4(dst_addr) WHERE dst_addr BETWEEN toIPv6('::ffff:0.0.0.0') AND "
        "toIPv6('::ffff:255.255.255.255')",
        "six": "src_addr WHERE src_addr > toIPv6('2000::')",
        "as": "src_as WHERE src_as > 0",
        "mac": "MACNumToString(src_mac) WHERE src_mac > 0",
        "nat": "toIPv4(nat_src_addr) WHERE nat_src_addr BETWEEN toIPv6('::ffff:1.0.0.0') AND "
        "toIPv6('::ffff:255.255.255.255')",
    }
    found = {}
    for name, what in asked.items():
        value, _, rest = what.partition(" WHERE ")
        sql = f"SELECT {value} AS v FROM flows WHERE {rest} GROUP BY v ORDER BY count() DESC, v"
        found[name] = str(store.rows(f"{sql} LIMIT 1")[0][0])
    return found


def test_there_is_enough_to_look_at(both: Both) -> None:
    every = both.ours("any")
    assert every[0] > 10_000
    assert every == both.theirs("any")
    found = [both.ours(text.format(**both.words))[0] for text in FILTERS.strip().split("\n")]
    assert sum(1 for count in found if 0 < count < every[0]) >= 80, "most choose some of the flows"


@pytest.mark.parametrize("text", FILTERS.strip().split("\n"))
def test_the_same_filter_finds_the_same_flows(both: Both, text: str) -> None:
    text = text.format(**both.words)
    assert both.ours(text) == both.theirs(text)


@pytest.mark.parametrize("text", AS_FILTERS)
def test_a_filter_by_as_finds_what_nfdump_prints(both: Both, text: str) -> None:
    is_asked = AS_FILTERS[text]
    rows = [row for row in both.printed("%sas %das %pkt %byt", "any") if is_asked(*row[:2])]
    assert both.ours(text) == (len(rows), sum(row[2] for row in rows), sum(row[3] for row in rows))
