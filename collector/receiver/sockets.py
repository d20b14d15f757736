"""Opens UDP sockets to receive on: exclusively, with a large buffer, and with clear refusals."""

import contextlib
import errno
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from collector.receiver.listening import ListenAddress
from collector.receiver.proc_net import holder_of
from core.errors import FlowledgerError
from core.log import get_logger

log = get_logger(__name__)

# <asm-generic/socket.h>; the socket module does not name it.
_SO_RCVBUFFORCE = 33
_new_socket = socket.socket  # A test takes IPv6 away here.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A bound socket, where it is bound, and the receive buffer that the kernel gave."""

    sock: socket.socket
    address: ListenAddress
    receive_buffer: int


def open_all(addresses: Sequence[ListenAddress], *, receive_buffer: int) -> list[OpenSocket]:
    """Open every address, or none; ``[::]`` is left out on a machine without IPv6."""
    opened: list[OpenSocket] = []
    try:
        for address in addresses:
            try:
                opened.append(_open(address, receive_buffer=receive_buffer))
            except OSError as error:
                if address.host == "::" and error.errno in _NO_IPV6 and len(addresses) > 1:
                    log.warning("no ipv6 here, not listening", address=address)
                    continue
                earlier = [each.address for each in opened]
                raise FlowledgerError(_refusal(address, error, earlier)) from error
    except BaseException:
        for each in opened:
            each.sock.close()
        raise
    if not opened:
        raise FlowledgerError("nothing to listen on; give at least one address with --listen")
    _report_buffers(opened, wanted=receive_buffer)
    return opened


def _open(address: ListenAddress, *, receive_buffer: int) -> OpenSocket:
    sock = _new_socket(address.family, socket.SOCK_DGRAM)
    try:
        sock.settimeout(0)
        if address.family is socket.AF_INET6:
            # So that 0.0.0.0 and [::] can be had on one port, each with its own addresses.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        given = _enlarge(sock, receive_buffer)
        sock.bind((address.host, address.port))
        port: int = sock.getsockname()[1]
    except BaseException:
        sock.close()
        raise
    return OpenSocket(sock, ListenAddress(address.host, port), given)


def _enlarge(sock: socket.socket, wanted: int) -> int:
    """Ask for a receive buffer; return what the kernel gave, in the same unit."""
    if sys.platform == "linux":
        with contextlib.suppress(PermissionError):  # Needs CAP_NET_ADMIN.
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted)
    given = _buffer_size(sock)
    if given < wanted:
        with contextlib.suppress(OSError):  # Some systems refuse what is above their limit.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
        given = _buffer_size(sock)
    return given


def _buffer_size(sock: socket.socket) -> int:
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    # Linux doubles what was asked, for its own bookkeeping.
    return size // 2 if sys.platform == "linux" else size


def _report_buffers(opened: Sequence[OpenSocket], *, wanted: int) -> None:
    least = min(each.receive_buffer for each in opened)
    if least < wanted:
        log.warning(
            "the kernel gave a smaller receive buffer than asked for: bursts may be dropped",
            asked=wanted,
            given=least,
            fix=f"sysctl -w net.core.rmem_max={wanted}",
        )


def _refusal(address: ListenAddress, error: OSError, earlier: Sequence[ListenAddress]) -> str:
    place = f"cannot listen on {address}"
    if error.errno == errno.EADDRINUSE:
        for other in earlier:
            if (other.family, other.port) == (address.family, address.port):
                return f"{place}: it overlaps with {other}, which is listened on too; give one"
        holder = holder_of(address.family, address.port)
        by = f"process {holder[0]} ({holder[1]})" if holder else "another process"
        return f"{place}: the port is held by {by}; stop it, or choose another port with --listen"
    if error.errno == errno.EACCES:
        return f"{place}: ports below 1024 need CAP_NET_BIND_SERVICE; use 2055, 4739 or 9995"
    if error.errno in _NO_IPV6:
        return f"{place}: no interface of this machine has that address; use 0.0.0.0 or [::]"
    return f"{place}: {error.strerror or error}"
