"""What the simulated ISP is like: its size, its routers, its subscribers' habits, its faults."""

from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address

from core.errors import UsageError
from simulator.exporters import KINDS

START_MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z, a Monday.
SUBSCRIBERS_MAX = 130_000  # As many as 198.18.0.0/15, the benchmark range, has addresses.
ROUTERS_MAX = 2_000
SAMPLING_MAX = 16_383  # NetFlow v5 has 14 bits for it.

# Traffic by hour of the day, against the mean: asleep at 4, busy at 21.
DAY_CURVE = (
    *(0.75, 0.50, 0.35, 0.27, 0.24, 0.27, 0.40, 0.60),
    *(0.75, 0.85, 0.92, 1.00, 1.05, 1.05, 1.05, 1.08),
    *(1.15, 1.30, 1.50, 1.75, 1.95, 2.00, 1.75, 1.20),
)

_SHARES = ("ipv6_share", "nat_share", "p2p_share", "bot_share", "scanner_share", "fast_share")


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong between router and receiver, each a share of the datagrams."""

    loss: float = 0.0
    duplicates: float = 0.0
    reordering: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss", "duplicates", "reordering"):
            value = getattr(self, name)
            if not 0.0 <= value <= 0.9:
                raise UsageError(f"{name} {value:g} is no share of the datagrams: use 0 to 0.9")


@dataclass(frozen=True, slots=True)
class Profile:
    """A whole ISP. Shares are of the subscribers, from 0 to 1."""

    subscribers: int = 200
    routers: int = 3
    versions: tuple[str, ...] = ("v9", "ipfix", "v5")  # The routers take them in turn.
    start_ms: int = START_MS
    connections_per_subscriber_s: float = 0.25
    has_day_curve: bool = True
    flows_per_second: float | None = None  # Scales the traffic to about this many records.
    ipv6_share: float = 0.4
    nat_share: float = 0.7  # Of those whose router reports translations.
    p2p_share: float = 0.05
    bot_share: float = 0.005
    scanner_share: float = 0.005
    fast_share: float = 0.1  # With a line of 1 Gbit/s instead of 20 to 200 Mbit/s.
    elephants: float = 1.0  # Times as many huge downloads as usual.
    remotes: int = 5_000
    zipf_exponent: float = 1.0
    active_timeout_s: int = 60
    inactive_timeout_s: int = 15
    template_every: int = 20
    template_timeout_s: int = 60
    mtu: int = 1500
    sampling: int = 1  # Of the exporters that are not MikroTik.
    clock_skew_ms: int = 0  # Each router's clock is wrong by up to this.
    uptime_s: int | None = None  # At the start; None: something between an hour and 40 days.
    restarts_s: tuple[int, ...] = ()  # After so many seconds, router 0, 1, 2... restarts.
    source_base: str = "127.0.1.1"  # The first router's address; the others follow.
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("subscribers", 1, SUBSCRIBERS_MAX),
            ("routers", 1, ROUTERS_MAX),
            ("remotes", 1, 1_000_000),
            ("active_timeout_s", 1, 86_400),
            ("inactive_timeout_s", 1, 3_600),
            ("template_every", 1, 1_000_000),
            ("template_timeout_s", 1, 86_400),
            ("mtu", 300, 65_535),
            ("sampling", 1, SAMPLING_MAX),
            ("clock_skew_ms", 0, 86_400_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} {value} is out of range: use {low} to {high}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name):g} is no share: use 0 to 1")
        for name, most in (("elephants", 10_000.0), ("zipf_exponent", 10.0)):
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(
                    f"{name} {getattr(self, name):g} is out of range: use 0 to {most:g}"
                )
        if not self.versions:
            raise UsageError(f"versions is empty: use some of {', '.join(KINDS)}")
        for version in self.versions:
            if version not in KINDS:
                raise UsageError(f"version {version!r} is unknown: use some of {', '.join(KINDS)}")
        for rate in (self.connections_per_subscriber_s, self.flows_per_second):
            if rate is not None and not 0 < rate <= 10_000_000:
                raise UsageError(f"rate {rate:g} is out of range: use more than 0, to 10000000")
        if self.uptime_s is not None and not 3_600 <= self.uptime_s <= 10_000 * 86_400:
            # Flows under way at the start began before it, but after their router did.
            raise UsageError(f"uptime_s {self.uptime_s} is out of range: use 3600 to 864000000")
        if any(restart < 1 for restart in self.restarts_s):
            raise UsageError("a restart must come at least 1 second after the start")
        try:
            IPv4Address(self.source_base) + self.routers
        except AddressValueError as error:
            raise UsageError(f"source base {self.source_base!r}: {error}") from error
