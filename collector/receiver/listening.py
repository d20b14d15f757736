"""Where to listen, as people write it."""

import ipaddress
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A local address and port to receive on; port 0 asks for a free one."""

    host: str
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        """The socket family that the address belongs to."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """Read ``HOST:PORT``; an IPv6 address stands in brackets. Raises ValueError with the fix."""
    host, colon, port_text = text.strip().rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not HOST:PORT; write for example 0.0.0.0:2055")
    bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not bracketed:
        raise ValueError(f"{text!r} needs brackets around its IPv6 address: [{host}]:{port_text}")
    host = host[1:-1] if bracketed else host
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ValueError(
            f"{host!r} in {text!r} is not an address of this machine; "
            "write 0.0.0.0 or [::] for all of them"
        ) from None
    if not port_text.isascii() or not port_text.isdigit() or int(port_text) > 65_535:
        raise ValueError(f"port {port_text!r} in {text!r} must be a number from 0 to 65535")
    return ListenAddress(str(address), int(port_text))
