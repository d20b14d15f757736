"""Rules on where a router looks from: the side of NAT, and flows that are reported twice."""

from typing import Final

from collector.doctor import words
from collector.doctor.advice import Advice, Severity
from collector.doctor.facts import Exporter, NatPosition
from collector.doctor.report import Report
from collector.doctor.sample import Overlap

TWICE_SHARE: Final = 0.05
TWICE_FLOWS: Final = 20  # Fewer are chance.
BUSY_SHARE: Final = 0.97  # A probe before some servers was seen with 0.96.
BUSY_FLOWS: Final = 200
_ADD_TARGET: Final = (
    "/ip/traffic-flow/target add dst-address=<COLLECTOR-IP> port=2055 version=9 "
    "src-address=<ROUTER-IP> v9-template-refresh=20 v9-template-timeout=1m"
)
_USE_V9: Final = (
    "/ip/traffic-flow/target set [find] version=9 v9-template-refresh=20 v9-template-timeout=1m"
)
_TELL_NAT: Final = (
    "/ip/traffic-flow/ipfix set nat-src-address=yes nat-dst-address=yes "
    "nat-src-port=yes nat-dst-port=yes"
)
_ENABLE: Final = (
    "/ip/traffic-flow set enabled=yes interfaces=<SUBSCRIBER-INTERFACES> "
    "active-flow-timeout=1m inactive-flow-timeout=15s"
)


def after_nat(exporter: Exporter) -> Advice | None:
    """No private address is seen: the router stands behind the translation, or none is needed."""
    if exporter.nat_position is not NatPosition.PUBLIC:
        return None
    seen = f"{words.share(exporter.public_only / exporter.ipv4)} of "
    seen += f"{words.count(exporter.ipv4, 'IPv4 flow')} have no private address"
    if exporter.nat_told:
        seen += ", and no translated address differs from the original"
    is_pool = exporter.busiest_share >= BUSY_SHARE and exporter.busiest_of >= BUSY_FLOWS
    if is_pool:
        shown = ", ".join(exporter.busiest[:3])
        more = len(exporter.busiest) - 3
        seen += (
            f"; {words.share(exporter.busiest_share)} of them have one of only "
            f"{len(exporter.busiest)} addresses ({shown}{f' and {more} more' if more > 0 else ''})"
        )
    return Advice(
        "after-nat",
        Severity.WRONG if is_pool else Severity.HINT,
        exporter.address,
        seen=f"{seen}.",
        why="Seen from outside of NAT all subscribers behind a public address are one, and "
        "cannot be billed apart.",
        then="Nothing to do if every subscriber has a public address of its own. Otherwise give "
        "these commands to the router that translates, on the subscribers' side, and then switch "
        "this one off: /ip/traffic-flow set enabled=no",
        commands=(_ENABLE, _ADD_TARGET),
    )


def downloads_hidden(exporter: Exporter) -> Advice | None:
    """Uploads come from private addresses, downloads go to public ones."""
    if exporter.nat_position is not NatPosition.ONE_WAY:
        return None
    commands: tuple[str, ...]
    commands_v6: tuple[str, ...] = ()
    then = ""
    if exporter.has_nat_fields or not exporter.has_templates:
        commands = ("/ip/traffic-flow set interfaces=<SUBSCRIBER-INTERFACES>", _USE_V9)
        then = (
            "For <SUBSCRIBER-INTERFACES> list the subscribers' side, such as bridge-lan: the "
            "uplink alone shows downloads before they are translated back."
        )
    else:
        commands = (_TELL_NAT,)
        commands_v6 = ("/ip traffic-flow target set [find] version=9",)
        then = "Where the first has no effect, use version=9, which always tells them."
    return Advice(
        "downloads-hidden",
        Severity.WRONG,
        exporter.address,
        seen=f"{words.count(exporter.private_src, 'flow')} come from private addresses, only "
        f"{words.count(exporter.private_dst, 'flow')} go to one, and no translated destination "
        "is private.",
        why="Downloads are seen with the public address only, so nobody is billed for them.",
        then=then,
        commands=commands,
        commands_v6=commands_v6,
    )


def two_exporters(report: Report) -> list[Advice]:
    """Two routers on the way of the same traffic both report it."""
    found = []
    for overlap, first, second in _pairs(report):
        if first.address == second.address:
            continue
        keep, drop = first, second
        shares = overlap.share_of_first, overlap.share_of_second
        if _rank(second) > _rank(first):
            keep, drop, shares = second, first, shares[::-1]
        found.append(
            Advice(
                "two-exporters",
                Severity.WRONG,
                drop.address,
                other=keep.address,
                seen=f"{words.share(shares[1])} of the flows of {drop.address} are reported by "
                f"{keep.address} too ({words.share(shares[0])} of its own): same ends, octets "
                "and time.",
                why="If both count, this traffic is billed twice.",
                then=f"Only the edge router, where the subscribers are, should report: by what "
                f"is seen that is {keep.address}. Give the command to the other one, "
                f"{drop.address}, or let it report only interfaces that {keep.address} does "
                "not see.",
                commands=("/ip/traffic-flow set enabled=no",),
            )
        )
    return found


def two_targets(report: Report) -> list[Advice]:
    """One router sends the same flows twice, in two versions or domains."""
    found = []
    for overlap, first, second in _pairs(report):
        if first.address != second.address:
            continue
        share = max(overlap.share_of_first, overlap.share_of_second)
        old = min(first, second, key=lambda exporter: exporter.version)
        new = second if old is first else first
        if new.version == old.version:
            commands: tuple[str, ...] = ("/ip/traffic-flow/target print",)
            then = "Remove the second target that leads to this collector."
        else:
            commands = (f"/ip/traffic-flow/target remove [find version={_setting(old)}]",)
            then = f"Look with /ip/traffic-flow/target print first: {new.label} is to stay."
        found.append(
            Advice(
                "two-targets",
                Severity.WRONG,
                first.address,
                seen=f"{words.share(share)} of the flows come as {first.label} (domain "
                f"{first.domain}) and as {second.label} (domain {second.domain}).",
                why="If both count, this traffic is billed twice.",
                then=then,
                commands=commands,
            )
        )
    return found


def both_interfaces(report: Report) -> list[Advice]:
    """One router reports the same flow where it comes in and where it leaves."""
    found = []
    for overlap in report.overlaps:
        exporter = report.exporters[overlap.first]
        if overlap.first != overlap.second or not _is_much(overlap):
            continue
        found.append(
            Advice(
                "both-interfaces",
                Severity.WRONG,
                exporter.address,
                seen=f"{words.share(overlap.share_of_first)} of the flows are there twice, with "
                "the same ends, octets and times.",
                why="The router counts traffic on its way in and again on its way out: it is "
                "billed twice.",
                then="For <SUBSCRIBER-INTERFACES> list the subscribers' side only, such as "
                "bridge-lan, never the uplink too.",
                commands=("/ip/traffic-flow set interfaces=<SUBSCRIBER-INTERFACES>",),
            )
        )
    return found


def _pairs(report: Report) -> list[tuple[Overlap, Exporter, Exporter]]:
    return [
        (overlap, report.exporters[overlap.first], report.exporters[overlap.second])
        for overlap in report.overlaps
        if overlap.first != overlap.second and _is_much(overlap)
    ]


def _is_much(overlap: Overlap) -> bool:
    share = max(overlap.share_of_first, overlap.share_of_second)
    return overlap.flows >= TWICE_FLOWS and share >= TWICE_SHARE


def _rank(exporter: Exporter) -> tuple[bool, float, int]:
    """Say how near a router is to the subscribers: it translates, or sees private addresses."""
    private = exporter.share(max(exporter.private_src, exporter.private_dst))
    return exporter.nat_position is NatPosition.HERE, private, exporter.flows


def _setting(exporter: Exporter) -> str:
    return "ipfix" if exporter.version == 10 else str(exporter.version)
