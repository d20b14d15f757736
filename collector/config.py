"""Limits and choices of the decoder: the ``[decoder]`` table."""

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

from collector.datagrams import IPV4_MAPPED
from collector.ledger.config import LedgerConfig
from core.config import ConfigError, Duration, section, setting


@dataclass(frozen=True, slots=True)
class Config:
    """What the decoder keeps at most, and how it reads what is ambiguous."""

    streams_max: int = setting(65_536, doc="Streams (exporter, version, domain) kept at once.")
    streams_per_exporter_max: int = setting(
        1_024, doc="Streams of one exporter, so that none can take the place of others."
    )
    templates_per_stream_max: int = setting(512, doc="Templates kept for one stream.")
    template_fields_max: int = setting(
        200_000, doc="Fields of all templates together, which bounds their memory."
    )
    waiting_sets_max: int = setting(
        200_000, doc="Data sets that may wait for their template at once."
    )
    waiting_max: Duration = setting(3_600.0, doc="How long a data set waits for its template.")
    mtu: int = setting(1_500, doc="Largest packet on the routers' links, for wrap repair.")
    ports_tell_apart: tuple[str, ...] = setting(
        (), doc="Exporter addresses behind which several routers stand, told apart by port."
    )
    ledger: LedgerConfig = section(LedgerConfig)

    def __post_init__(self) -> None:
        for name in (
            "streams_max",
            "streams_per_exporter_max",
            "templates_per_stream_max",
            "template_fields_max",
            "waiting_sets_max",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(name, "must be at least 1")
        if not 576 <= self.mtu <= 65_535:
            raise ConfigError("mtu", f"{self.mtu} is no packet size: write 576 to 65535")
        for address in self.ports_tell_apart:
            try:
                ip_address(address)
            except ValueError as error:
                raise ConfigError("ports_tell_apart", f"{error}: write addresses") from error

    def shared_addresses(self) -> list[bytes]:
        """Return the addresses told apart by port, as 16 octets."""
        packed = [ip_address(address) for address in self.ports_tell_apart]
        return [
            IPV4_MAPPED + one.packed if isinstance(one, IPv4Address) else one.packed
            for one in packed
        ]
