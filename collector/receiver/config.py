"""What can be set about the receiver."""

from collections.abc import Callable
from dataclasses import dataclass

from collector.receiver.allowlist import AllowList
from collector.receiver.listening import ListenAddress, parse_listen
from core.config import ConfigError, Size, setting

# The ports that routers use by custom: NetFlow (two of them) and IPFIX.
DEFAULT_LISTEN = (
    "0.0.0.0:2055",
    "0.0.0.0:4739",
    "0.0.0.0:9995",
    "[::]:2055",
    "[::]:4739",
    "[::]:9995",
)
_LISTENERS_MAX = 64
_RECEIVE_BUFFER_MAX = 1 << 30
_UDP_OCTETS_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Config:
    """The receiver's part of the ``[collector]`` table."""

    listen: tuple[str, ...] = setting(
        DEFAULT_LISTEN,
        doc="Addresses and ports to receive on, an IPv6 address in brackets; "
        "port 0 takes a free one.",
    )
    allow: tuple[str, ...] = setting(
        (), doc="Exporters that may send, as addresses and prefixes; empty lets all of them."
    )
    receive_buffer: Size = setting(
        64 << 20, doc="Octets that the kernel may hold for each listener while we are busy."
    )
    datagram_octets_max: int = setting(
        _UDP_OCTETS_MAX, doc="Longer datagrams are counted as truncated and not kept."
    )
    addresses_counted_max: int = setting(
        4_096,
        doc="Exporters whose refused and truncated datagrams are counted each by itself "
        "between two counter records; the rest are counted together.",
    )
    portable: bool = setting(
        default=False, doc="Receive by asyncio-dgram even where recvmmsg is to be had."
    )

    def __post_init__(self) -> None:
        if not 1 <= len(self.listen) <= _LISTENERS_MAX:
            raise ConfigError("listen", f"needs from 1 to {_LISTENERS_MAX} addresses")
        _check("listen", self.listen, parse_listen)
        _check("allow", self.allow, lambda text: AllowList((text,)))
        fixed = [address for address in self.listen_addresses() if address.port]
        if len(set(fixed)) < len(fixed):
            raise ConfigError("listen", "the same address is there twice; give it once")
        for name, least, most in (
            ("receive_buffer", 4_096, _RECEIVE_BUFFER_MAX),
            ("datagram_octets_max", 64, _UDP_OCTETS_MAX),
            ("addresses_counted_max", 1, 65_536),
        ):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(name, f"must be from {least} to {most}")

    def listen_addresses(self) -> tuple[ListenAddress, ...]:
        """Return ``listen``, read."""
        return tuple(parse_listen(text) for text in self.listen)

    def allow_list(self) -> AllowList | None:
        """Return ``allow``, read; None lets everybody."""
        return AllowList(self.allow) if self.allow else None


def _check(name: str, texts: tuple[str, ...], read: Callable[[str], object]) -> None:
    """Refuse every one of the texts that cannot be read."""
    mistakes = []
    for text in texts:
        try:
            read(text)
        except ValueError as mistake:
            mistakes.append(str(mistake))
    if mistakes:
        raise ConfigError(name, *mistakes)
