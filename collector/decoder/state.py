"""Streams written as plain values, to go on from after a restart."""

import dataclasses
from typing import Any

from collector.decoder.streams import Start, Stream

_BY_NUMBER = ("interfaces", "applications")


def pack_streams(streams: list[Stream]) -> list[dict[str, Any]]:
    """Write streams as plain values."""
    packed = []
    for stream in streams:
        values = {f.name: getattr(stream, f.name) for f in dataclasses.fields(stream)}
        values["addr"] = stream.addr.hex()
        for name in _BY_NUMBER:
            values[name] = {str(number): text for number, text in values[name].items()}
        values["samplers"] = dict(stream.samplers)
        values["starts"] = {
            str(epoch): dataclasses.astuple(start) for epoch, start in stream.starts.items()
        }
        packed.append(values)
    return packed


def unpack_streams(packed: list[dict[str, Any]]) -> list[Stream]:
    """Read back what ``pack_streams`` wrote."""
    streams = []
    for one in packed:
        values = dict(one)
        values["addr"] = bytes.fromhex(values["addr"])
        for name in _BY_NUMBER:
            values[name] = {int(number): text for number, text in values[name].items()}
        values["samplers"] = dict(values["samplers"])
        values["starts"] = {int(epoch): Start(*start) for epoch, start in values["starts"].items()}
        streams.append(Stream(**values))
    return streams
