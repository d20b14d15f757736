"""From IP packets to the UDP payloads that are NetFlow or IPFIX."""

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS, IPV4_MAPPED, Datagrams, concatenate
from collector.sources.fragments import Fragment, Fragments
from collector.sources.packets import Contents, Loader, Packets, ip_contents, place_of
from collector.sources.source import MARGIN, Oddities, Oddity

_UDP = 17
_HEADER = 8
_VERSIONS = (1, 5, 9, 10)


def datagrams_of(
    packets: Packets,
    fragments: Fragments,
    *,
    ports: frozenset[int],
    oddities: Oddities,
    segment: int,
) -> Datagrams:
    """Return the NetFlow and IPFIX datagrams among the packets; count all else.

    With ``ports`` all UDP to one of these is taken; without, whatever begins with a version that
    can be decoded. Checksums are not looked at: captures of one's own traffic have none yet.
    """
    load = Loader(packets.octets)
    contents = ip_contents(load, packets, oddities)
    is_udp = contents.protocol == _UDP
    oddities.add(Oddity.NOT_UDP, *place_of(packets, contents.row[~is_udp]))
    is_piece = is_udp & ((contents.offset > 0) | contents.more)
    whole = contents.take(is_udp & ~is_piece)
    datagrams = _payloads(load, packets, whole, ports=ports, oddities=oddities, segment=segment)
    if not is_piece.any():
        return datagrams
    joined = _joined(load, packets, contents.take(is_piece), fragments)
    if joined is None:
        return datagrams
    late_load, late = joined
    late_datagrams = _payloads(
        late_load, packets, late, ports=ports, oddities=oddities, segment=segment
    )
    both = concatenate([datagrams, late_datagrams])
    return both.take(np.argsort(both.offset, kind="stable"))


def _payloads(
    load: Loader,
    packets: Packets,
    contents: Contents,
    *,
    ports: frozenset[int],
    oddities: Oddities,
    segment: int,
) -> Datagrams:
    start = contents.start
    length = load.short(start + 4)
    # 0 is what a payload above 65,527 octets, or one before offload, has.
    claimed = np.where(length > 0, start + length, contents.claimed)
    bad = (length > 0) & (length < _HEADER)
    bad |= claimed > contents.claimed
    oddities.add(Oddity.BAD_LENGTH, *place_of(packets, contents.row[bad]))
    is_cut = ~bad & (claimed > contents.end)
    oddities.add(Oddity.CUT_PACKET, *place_of(packets, contents.row[is_cut]))
    end = np.minimum(claimed, contents.end)
    # Without a version number there is nothing to decode, and it has been counted.
    usable = ~bad & (start + _HEADER + 2 <= end)
    if ports:
        wanted = np.isin(load.short(start + 2), np.fromiter(ports, np.int64))
    else:
        wanted = np.isin(load.short(start + _HEADER), _VERSIONS)
    oddities.add(
        Oddity.OTHER_UDP, *place_of(packets, contents.row[~bad & ~is_cut & ~(usable & wanted)])
    )
    chosen = contents.take(usable & wanted)
    first = chosen.start + _HEADER
    row = chosen.row
    return Datagrams(
        load.octets,
        first,
        end[usable & wanted] - first,
        packets.received_ns[row],
        _sources(load, chosen),
        load.short(chosen.start).astype(np.uint16),
        np.full(len(row), segment, np.uint64),
        packets.number[row].astype(np.uint64),
    )


def _sources(load: Loader, contents: Contents) -> NDArray[np.void]:
    addresses = np.zeros((len(contents.row), 16), np.uint8)
    v4 = np.flatnonzero(~contents.is_v6)
    addresses[v4, :12] = np.frombuffer(IPV4_MAPPED, np.uint8)
    addresses[v4, 12:] = load.octets[contents.source[v4, None] + np.arange(4)]
    v6 = np.flatnonzero(contents.is_v6)
    if len(v6):
        addresses[v6] = load.octets[contents.source[v6, None] + np.arange(16)]
    return addresses.view(ADDRESS).reshape(-1)


def _joined(
    load: Loader, packets: Packets, pieces: Contents, fragments: Fragments
) -> tuple[Loader, Contents] | None:
    """Feed the pieces, in order; return the packets that became whole, over their own buffer."""
    octets = load.octets
    complete: list[tuple[int, bytes]] = []
    for index in range(len(pieces.row)):
        source = int(pieces.source[index])
        size = 16 if pieces.is_v6[index] else 4
        start, end, claimed = (
            int(part[index]) for part in (pieces.start, pieces.end, pieces.claimed)
        )
        if end < claimed:
            continue  # Cut by the snap length: its packet will be counted as incomplete.
        content = fragments.add(
            Fragment(
                (
                    octets[source : source + size].tobytes(),
                    octets[source + size : source + 2 * size].tobytes(),
                    int(pieces.identification[index]),
                ),
                int(pieces.offset[index]),
                not pieces.more[index],
                octets[start:end].tobytes(),
                f"packet {packets.number[pieces.row[index]]}",
            )
        )
        if content is not None:
            complete.append((index, content))
    if not complete:
        return None
    chosen = pieces.take(np.array([index for index, _ in complete]))
    # The source addresses go in front, because the new buffer has no IP headers.
    addresses = [octets[at : at + 16].tobytes() for at in chosen.source.tolist()]
    parts = [address + content for address, (_, content) in zip(addresses, complete, strict=True)]
    lengths = np.array([len(part) for part in parts], np.int64)
    base = np.cumsum(lengths) - lengths
    chosen.source, chosen.start = base, base + 16
    chosen.end = chosen.claimed = base + lengths
    return Loader(np.frombuffer(b"".join([*parts, bytes(MARGIN)]), np.uint8)), chosen
