"""What the subscribers do: connections drawn at random, as the flow records of both ways."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.population import (
    BOT,
    NORMAL,
    REMOTE_BITS,
    SCANNER,
    SHARER,
    SUBSCRIBER_BITS,
    Population,
)
from simulator.records import RECORD, with_packets

QUANTILES = 4_096
MIX = 4_096
OCTETS_MAX = 1 << 40
PACKET_MIN = 40
PACKET_MAX = 1_500


@dataclass(frozen=True, slots=True)
class App:
    """One kind of connection. Sizes are lognormal; packet 1500 means full-size ones throughout."""

    name: bytes
    protocol: int
    port: int  # 0: any high port.
    octets: int  # Median of the download.
    sigma: float
    up_share: float  # Octets up for each octet down.
    packet_down: int
    packet_up: int
    rate_kbps: int  # 0: as fast as the line.
    weights: tuple[float, float, float, float]  # For normal users, sharers, bots, scanners.
    to_peers: bool = False
    tos: int = 0
    flags: int = 0


APPS = (
    App(b"tls", 6, 443, 14_000, 1.7, 0.12, 1_100, 120, 8_000, (38, 15, 15, 10), flags=0x1B),
    App(b"http", 6, 80, 6_000, 1.6, 0.15, 1_000, 130, 8_000, (6, 3, 3, 3), flags=0x1B),
    App(b"quic", 17, 443, 60_000, 1.8, 0.08, 1_200, 90, 12_000, (14, 6, 4, 4)),
    App(b"video", 6, 443, 7_000_000, 1.3, 0.02, 1_400, 60, 6_000, (3, 2, 0, 0), flags=0x1B),
    App(b"dns", 17, 53, 150, 0.5, 0.45, 400, 100, 100, (30, 15, 30, 5)),
    App(b"imap", 6, 993, 9_000, 1.5, 0.3, 900, 200, 4_000, (2, 1, 0, 0), flags=0x1B),
    App(b"bittorrent", 17, 0, 40_000, 2.2, 1.0, 1_200, 1_000, 2_000, (0, 60, 0, 0), to_peers=True),
    App(b"wireguard", 17, 51_820, 900_000, 1.6, 0.5, 900, 600, 300, (0.5, 0.5, 0, 0), tos=0x20),
    App(b"game", 17, 27_015, 600_000, 1.0, 0.6, 160, 90, 120, (1.5, 0.5, 0, 0), tos=0xB8),
    App(b"download", 6, 443, 150_000_000, 1.4, 0.02, 1_500, 52, 0, (0.15, 0.3, 0, 0), flags=0x1B),
    App(b"ping", 1, 8 * 256, 84, 0.1, 1.0, 84, 84, 1, (1, 0.5, 0, 0)),
    App(
        b"smtp", 6, 25, 1_200, 0.8, 6.0, 200, 900, 2_000, (0.2, 0, 60, 0), to_peers=True, flags=0x1B
    ),
    App(b"scan", 6, 0, 40, 0.0, 1.0, 40, 40, 1, (0, 0, 0, 90), to_peers=True, flags=0x02),
)
SCAN = next(index for index, app in enumerate(APPS) if app.name == b"scan")


class Traffic:
    """Draws connections. The same generator state gives the same ones."""

    def __init__(self, population: Population, *, elephants: float = 1.0) -> None:
        self._population = population
        self._sizes = np.stack([_sizes(app) for app in APPS])
        self._mixes = np.stack([_mix(habit, elephants) for habit in (NORMAL, SHARER, BOT, SCANNER)])
        self._port = np.array([app.port for app in APPS], np.uint16)
        self._up_share = np.array([app.up_share for app in APPS])
        self._packet_down = np.array([app.packet_down for app in APPS], np.int64)
        self._packet_up = np.array([app.packet_up for app in APPS], np.int64)
        # 1 kbit/s is one octet in 8 ms.
        self._octets_per_ms = np.array([app.rate_kbps / 8 or np.inf for app in APPS])
        self._to_peers = np.array([app.to_peers for app in APPS])

    def draw(
        self, rng: np.random.Generator, count: int, *, start_ms: int, length_ms: int
    ) -> NDArray[Any]:
        """Return the records of ``count`` connections that begin in an interval, uncut.

        Both ways of a connection are records of their own, uploads first. ``export_ms`` is 0.
        """
        who, when, how = rng.integers(0, 1 << 64, (3, count), np.uint64, endpoint=False)
        people = self._population
        subscriber = people.draw_subscriber[_bits(who, 0, SUBSCRIBER_BITS)]
        app = self._mixes[people.habit[subscriber], _bits(who, 18, 12)]
        is_scan = app == SCAN
        port = _bits(how, 32, 16).astype(np.uint16)
        remote = self._remote(_bits(when, 32, REMOTE_BITS), app)
        remote_port = self._port[app]
        high = np.flatnonzero(remote_port == 0)
        remote_port[high] = np.where(is_scan[high], port[high] & 0x3FF, port[high] | 0x2000)

        down = self._sizes[app, _bits(who, 30, 12)]
        down += down * _bits(how, 0, 8) >> 9  # Up to half more, so that sizes are not a few.
        up = (down * self._up_share[app]).astype(np.int64)
        up_packets, up = _packets(up, self._packet_up[app])
        down_packets, down = _packets(down, self._packet_down[app])
        down_packets[is_scan] = 0  # Nobody answers.

        line = people.octets_per_ms[subscriber]
        rate = np.minimum(self._octets_per_ms[app], line)
        slowness = 1.0 + _bits(how, 8, 8) / 128.0
        length = ((down + up) / rate * slowness).astype(np.int64) + _bits(how, 16, 6)
        length[(up_packets <= 1) & (down_packets <= 1)] &= 0x3F

        records = np.zeros((2, count), RECORD)
        # The offset in the interval, from 32 random bits, in integers.
        records["start_ms"] = start_ms + (_bits(when, 0, 32) * length_ms >> 32)
        records["end_ms"] = records["start_ms"] + length
        records["octets"] = (up, down)
        records["packets"] = (up_packets, down_packets)
        records["subscriber"] = subscriber
        records["remote"] = remote
        records["subscriber_port"] = 1024 + _bits(how, 48, 15)
        records["remote_port"] = remote_port
        records["app"] = app
        records["is_download"][1] = 1
        records["is_ipv6"] = people.has_ipv6[subscriber] & (_bits(who, 42, 1) == 1)
        flat = records.reshape(-1)
        return with_packets(flat) if is_scan.any() else flat

    def _remote(self, place: NDArray[np.int64], app: NDArray[Any]) -> NDArray[Any]:
        remote = self._population.draw_remote[place]
        peers = np.flatnonzero(self._to_peers[app])
        remote[peers] = self._population.servers + place[peers]
        return remote


def _packets(
    octets: NDArray[np.int64], size: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return packets of about the wanted size, and the octets that they carry."""
    packets = -(-octets // size)
    np.maximum(packets, 1, out=packets)
    carried = np.maximum(octets, packets * PACKET_MIN)
    return packets, np.where(size == PACKET_MAX, packets * PACKET_MAX, carried)


def _bits(words: NDArray[np.uint64], shift: int, width: int) -> NDArray[np.int64]:
    bits: NDArray[np.uint64] = (words >> np.uint64(shift)) & np.uint64((1 << width) - 1)
    return bits.view(np.int64)


def _sizes(app: App) -> NDArray[np.int64]:
    """Return the octets at each quantile of the app's lognormal distribution."""
    normal = NormalDist()
    deviates = [normal.inv_cdf((place + 0.5) / QUANTILES) for place in range(QUANTILES)]
    octets = app.octets * np.exp(app.sigma * np.array(deviates))
    sizes: NDArray[np.int64] = np.clip(np.rint(octets), PACKET_MIN, OCTETS_MAX).astype(np.int64)
    return sizes


def _mix(habit: int, elephants: float) -> NDArray[np.uint8]:
    """Return a table in which a random place holds an app, by the habit's weights."""
    factors = [elephants if app.packet_down == PACKET_MAX else 1.0 for app in APPS]
    weights = [app.weights[habit] * factor for app, factor in zip(APPS, factors, strict=True)]
    cumulated = np.cumsum(weights)
    places = (np.arange(MIX) + 0.5) / MIX * cumulated[-1]
    table: NDArray[np.uint8] = np.searchsorted(cumulated, places).astype(np.uint8)
    return table
