"""Routers for the doctor to look at: simulated ones, and flows written down one by one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.config import Config
from collector.datagrams import IPV4_MAPPED, Datagrams, concatenate, from_payloads
from collector.decoder import Decoder
from collector.doctor import Doctor, Report, advise
from collector.journal.block import no_datagrams
from simulator.isp import Isp
from simulator.profile import Profile
from tests.support import encoder
from tests.support.encoder import Field

START_S = 1_767_225_600  # 2026-01-01 00:00 UTC.
BOOT_S = START_S - 86_400
EDGE, CORE = "192.0.2.1", "192.0.2.2"

_HEAD = (Field(21, 4), Field(22, 4), Field(2, 4), Field(1, 4), Field(10, 4), Field(14, 4))
IPV4 = (*_HEAD, Field(8, 4), Field(12, 4), Field(4, 1), Field(7, 2), Field(11, 2))
IPV4_NAT = (*IPV4, Field(225, 4), Field(226, 4), Field(227, 2), Field(228, 2))
IPV6 = (*_HEAD, Field(27, 16), Field(28, 16), Field(4, 1), Field(7, 2), Field(11, 2))


@dataclass(frozen=True)
class Flow:
    """One flow, times in seconds after the start."""

    src: str
    dst: str
    src_port: int = 40_000
    dst_port: int = 443
    octets: int = 5_000
    packets: int = 10
    start: float = 0.0
    end: float = 1.0
    in_if: int = 2
    out_if: int = 1
    nat_src: str = ""  # As the original, unless said otherwise.
    nat_dst: str = ""
    nat_src_port: int = 0
    nat_dst_port: int = 0


def packed(text: str) -> bytes:
    raw = ip_address(text).packed
    return raw if len(raw) == 16 else IPV4_MAPPED + raw


def record(flow: Flow, fields: Sequence[Field]) -> bytes:
    values = {
        21: round((flow.end + 86_400) * 1000),
        22: round((flow.start + 86_400) * 1000),
        2: flow.packets,
        1: flow.octets,
        10: flow.in_if,
        14: flow.out_if,
        4: 6,
        7: flow.src_port,
        11: flow.dst_port,
        227: flow.nat_src_port or flow.src_port,
        228: flow.nat_dst_port or flow.dst_port,
    }
    ends = {
        **dict.fromkeys((8, 27), flow.src),
        **dict.fromkeys((12, 28), flow.dst),
        225: flow.nat_src or flow.src,
        226: flow.nat_dst or flow.dst,
    }
    return encoder.record(
        fields,
        [
            encoder.address(ends[field.id])
            if field.id in ends
            else encoder.number(values[field.id], field.length)
            for field in fields
        ],
    )


def v9(
    flows: Sequence[Flow],
    *,
    address: str = EDGE,
    port: int = 40_001,
    fields: Sequence[Field] = IPV4_NAT,
    each: int = 20,
    sequence: int = 0,
    has_template: bool = True,
    clock_s: int = 0,
    domain: int = 0,
) -> Datagrams:
    """Return v9 datagrams with so many flows in each, sent when the last of them has ended."""
    layouts = [encoder.template(256, fields, version=9), encoder.template(257, IPV6, version=9)]
    template = encoder.template_set(layouts, version=9)
    payloads, sent_s = [], []
    ordered = sorted(flows, key=lambda flow: flow.end)
    for first in range(0, len(ordered), each):
        some = ordered[first : first + each]
        moment = int(some[-1].end) + 1
        sets = [encoder.data_set(256, [record(flow, fields) for flow in some])]
        if has_template:
            sets.insert(0, template)
        payloads.append(
            encoder.netflow9(
                sets,
                count=len(some) + 2 * has_template,
                uptime_ms=(moment + 86_400) * 1000,
                export_s=START_S + moment + clock_s,
                sequence=sequence + len(payloads),
                domain=domain,
            )
        )
        sent_s.append(START_S + moment)
    return from_payloads(
        payloads,
        addr=packed(address),
        port=port,
        received_ns=np.array(sent_s, np.int64) * 1_000_000_000,
    )


def simulated(
    duration_s: float, *, seed: int = 1, addresses: Sequence[str] = (), **settings: Any
) -> Datagrams:
    """Return what a simulated ISP sends, with other addresses for its routers if wanted."""
    isp = Isp(Profile(**{"subscribers": 80, "routers": 1, "versions": ("v9",)} | settings), seed)
    named = addresses or [exporter.address for exporter in isp.exporters]
    addr = np.frombuffer(b"".join(map(packed, named)), "V16")
    batches = [
        Datagrams(
            batch.octets,
            batch.starts,
            batch.lengths,
            batch.sent_ns,
            addr[batch.exporter],
            (40_000 + batch.exporter).astype(np.uint16),
            np.zeros(len(batch), np.uint64),
            np.arange(len(batch), dtype=np.uint64),
        )
        for batch in isp.datagrams(duration_s)
    ]
    return concatenate(batches)


def in_order(*parts: Datagrams) -> Datagrams:
    """Mix what several routers send, by the time of arrival."""
    joined = concatenate(parts)
    order = np.argsort(joined.received_ns, kind="stable")
    return numbered(joined.take(order))


def numbered(datagrams: Datagrams) -> Datagrams:
    return replace(datagrams, offset=np.arange(len(datagrams), dtype=np.uint64))


def with_port(datagrams: Datagrams, port: int | NDArray[np.uint16]) -> Datagrams:
    ports = np.broadcast_to(np.asarray(port, np.uint16), len(datagrams))
    return replace(datagrams, port=np.array(ports))


def examined(
    *parts: Datagrams,
    config: Config | None = None,
    counters: Iterable[dict[str, Any]] = (),
    batch: int = 500,
) -> Report:
    """Decode in batches, look, and report."""
    datagrams = in_order(*parts)
    decoder, doctor = Decoder(config or Config()), Doctor()
    for first in range(0, len(datagrams), batch):
        some = datagrams.take(np.arange(first, min(first + batch, len(datagrams))))
        doctor.observe(some, decoder.decode(some))
    for values in counters:
        decoder.receiver_counters(values)
    doctor.observe(no_datagrams(), decoder.finish())
    return doctor.report(decoder)


def rules(report: Report) -> set[str]:
    """Return the rules that found something."""
    return {advice.rule for advice in advise(report)}


def browsing(
    count: int,
    *,
    seed: int = 1,
    span: float = 120.0,
    is_natted: bool = True,
    public: Sequence[str] = ("203.0.113.1", "203.0.113.2"),
    inside: str = "100.64",
) -> list[Flow]:
    """Return connections of subscribers behind NAT: an upload and a download each."""
    rng = np.random.default_rng(seed)
    flows = []
    for number in range(count):
        mine = f"{inside}.{number % 7}.{number % 200 + 1}"
        outside = public[number % len(public)] if is_natted else mine
        first, second, third = rng.integers(1, 250, 3).tolist()
        theirs = f"{60 + first % 30}.{second}.{third}.{first}"
        port = int(rng.integers(1_024, 60_000))
        start = round(float(rng.uniform(0, span)), 3)
        packets = int(rng.integers(2, 400))
        times = {"start": start, "end": start + round(float(rng.uniform(0, 9)), 3)}
        flows += [
            Flow(
                mine,
                theirs,
                port,
                443,
                packets=packets,
                octets=packets * int(rng.integers(40, 200)),
                nat_src=outside,
                nat_src_port=port ^ 0x400 if is_natted else port,
                **times,
            ),
            Flow(
                theirs,
                outside,
                443,
                port ^ 0x400 if is_natted else port,
                packets=packets,
                octets=packets * int(rng.integers(400, 1_500)),
                in_if=1,
                out_if=2,
                nat_dst=mine,
                nat_dst_port=port,
                **times,
            ),
        ]
    return flows


def translated(flow: Flow) -> Flow:
    """Return the flow as a router further out sees it."""
    if flow.nat_src and flow.nat_src != flow.src:
        flow = replace(flow, src=flow.nat_src, src_port=flow.nat_src_port or flow.src_port)
    return replace(flow, nat_src="", nat_dst="", nat_src_port=0, nat_dst_port=0)
