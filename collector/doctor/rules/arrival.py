"""Rules on how datagrams arrive: what is missing, late, double, mixed up or wrongly timed."""

from typing import Final

from collector.doctor import words
from collector.doctor.advice import Advice, Severity
from collector.doctor.facts import Exporter
from collector.doctor.report import Report

LOSS_MAX: Final = 0.001
LOSS_BAD: Final = 0.01
CLOCK_MAX_MS: Final = 300_000
DUPLICATES_MAX: Final = 0.001
SILENCE_S: Final = 300.0
PORT_SHARE: Final = 0.05
_ROOM: Final = ("sysctl -w net.core.rmem_max=268435456",)
_ROOM_TOO: Final = 'and set receive_buffer = "256MiB" under [collector]'


def unreadable_sets(exporter: Exporter) -> Advice | None:
    """Data waits for a template that does not come."""
    waiting = exporter.loss.still_waiting
    if not waiting:
        return None
    came = "none came" if exporter.template_age_s is None else "others came, theirs did not"
    return Advice(
        "unreadable-sets",
        Severity.WRONG if waiting > 0.01 * exporter.datagrams else Severity.RISK,
        exporter.address,
        seen=f"{words.count(waiting, 'data set')} of {words.count(exporter.datagrams, 'datagram')} "
        f"wait for their template ({came}).",
        why="Until the template comes these flows are in no bill; after an hour they are given up.",
        commands=(
            "/ip/traffic-flow/target set [find] v9-template-refresh=20 v9-template-timeout=1m",
        ),
    )


def clock(exporter: Exporter) -> Advice | None:
    """The router's clock is wrong."""
    offset_ms = exporter.clock_offset_ms
    if exporter.is_clockless:
        seen = "The router's clock began when it was switched on: it does not know the date."
    elif offset_ms is not None and abs(offset_ms) > CLOCK_MAX_MS:
        side = "behind" if offset_ms > 0 else "ahead"
        seen = f"The router's clock is {words.duration(abs(offset_ms) / 1000)} {side}."
    else:
        return None
    if exporter.loss.clock_fallbacks:
        seen += (
            f" {words.count(exporter.loss.clock_fallbacks, 'flow')} got the time of their arrival "
            "instead."
        )
    return Advice(
        "clock",
        Severity.RISK,
        exporter.address,
        seen=seen,
        why="Flows land in the wrong five minutes, and with a wrong subscriber when an address "
        "has changed hands.",
        commands=(
            "/system/ntp/client set enabled=yes",
            "/system/ntp/client/servers add address=pool.ntp.org",
        ),
        commands_v6=("/system ntp client set enabled=yes server-dns-names=pool.ntp.org",),
    )


def shared_address(exporter: Exporter) -> Advice | None:
    """Several routers stand behind one address, so their sequences run through each other."""
    if exporter.is_told_apart:
        return None
    total = sum(exporter.ports.values())
    busy = {p: n for p, n in exporter.ports.items() if n >= max(PORT_SHARE * total, 3)}
    # Two sequences: every other change of port goes back, while each port on its own never does.
    is_mixed = exporter.switches_back >= max(6, 0.2 * exporter.switches)
    if len(busy) < 2 or not is_mixed or exporter.steps_back > 0.05 * exporter.steps:
        return None
    parts = ", ".join(f"{p}: {words.share(n / total)}" for p, n in sorted(busy.items())[:4])
    return Advice(
        "shared-address",
        Severity.WRONG,
        exporter.address,
        seen=f"Datagrams come from {len(busy)} source ports ({parts}), each with a sequence of "
        "its own.",
        why="Several routers share this address behind a NAT: their templates get mixed up, and "
        "the loss shown is none.",
        then="Let each router send from an address of its own that is not translated on the way. "
        f"Where that cannot be, set ports_tell_apart under [collector.decoder] to include "
        f'"{exporter.address}".',
        commands=("/ip/traffic-flow/target set [find] src-address=<ROUTER-IP>",),
    )


def duplicates(exporter: Exporter) -> Advice | None:
    """The same datagrams come more than once."""
    count = exporter.loss.duplicates
    if count < 5 or count <= DUPLICATES_MAX * exporter.datagrams:
        return None
    part = count / exporter.datagrams
    return Advice(
        "duplicates",
        Severity.RISK if part >= 0.01 else Severity.HINT,
        exporter.address,
        seen=f"{words.count(count, 'datagram')} ({words.share(part)}) came twice within a minute; "
        "the copies were dropped.",
        why="Nothing is billed twice, but a copy that came later than that would be.",
        then="Look for two targets that lead here, a mirror port, or a loop in the network.",
        commands=("/ip/traffic-flow/target print",),
    )


def loss(report: Report) -> list[Advice]:
    """Some of what was sent did not arrive."""
    return [
        _loss(exporter, report)
        for exporter in report.exporters
        if exporter.loss.share > LOSS_MAX and not shared_address(exporter)
    ]


def _loss(exporter: Exporter, report: Report) -> Advice:
    found = exporter.loss
    seen = (
        f"{words.share(found.share)} is missing: {found.gap:,} of {found.gap + found.received:,} "
        f"{found.unit}, about {words.octets(found.lost_octets)} of traffic (between "
        f"{words.octets(found.lost_octets_low)} and {words.octets(found.lost_octets_high)})."
    )
    missing = _missing_datagrams(exporter)
    known = min(found.known_datagrams, missing)
    kernel = report.dropped("dropped_kernel")
    if known:
        seen += f" Of about {words.count(missing, 'datagram')} {known:,} were dropped on this host."
    if kernel:
        seen += (
            f" The kernel here dropped {words.count(kernel, 'datagram')} of all routers, these "
            "perhaps among them."
        )
    on_host: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    if kernel:
        then = f"First give the collector more room, {_ROOM_TOO}; then see what is still missing."
        on_host = _ROOM
    elif known >= 0.5 * missing:
        then = "The cause is on this host: see the advice for the collector."
    else:
        then = (
            "The network between router and collector lost them, or the router could not send: "
            "look for errors and full queues on the way (for <COLLECTOR-IP> write this host), "
            "put this traffic into a queue of its own, and give the router a larger cache."
        )
        commands = (
            "/ping <COLLECTOR-IP> size=1400 do-not-fragment count=500 interval=20ms",
            "/interface/print stats",
            "/ip/traffic-flow set cache-entries=256k",
        )
    return Advice(
        "loss",
        Severity.WRONG if found.share >= LOSS_BAD else Severity.RISK,
        exporter.address,
        seen=seen,
        why="What is missing is not billed.",
        then=then,
        commands=commands,
        on_host=on_host,
    )


def _missing_datagrams(exporter: Exporter) -> int:
    """Return about how many datagrams the gap was."""
    found = exporter.loss
    if found.unit == "datagrams" or not found.received:
        return found.gap
    return max(1, round(found.gap * exporter.datagrams / found.received))


def silence(report: Report) -> list[Advice]:
    """A router has stopped while others go on."""
    return [
        Advice(
            "silence",
            Severity.RISK,
            exporter.address,
            seen=f"Its last {exporter.label} datagram came {words.duration(exporter.silent_s)} "
            "before the end, while others went on.",
            why="Nothing of what it carries now is billed.",
            then="See that the router is up, that traffic flow is enabled and leads here.",
            commands=(
                "/ip/traffic-flow print",
                "/ip/traffic-flow/target print",
                "/ping <COLLECTOR-IP> count=5",
            ),
        )
        for exporter in report.exporters
        if exporter.silent_s > SILENCE_S and exporter.silent_s > 0.2 * report.window_s
    ]


def refused(report: Report) -> list[Advice]:
    """An address that is not allowed sends flows."""
    found = []
    known = {exporter.address for exporter in report.exporters}
    for address, counts in report.drops.items():
        if address and counts["refused"]:
            found.append(
                Advice(
                    "refused",
                    Severity.RISK if address in known else Severity.HINT,
                    address,
                    seen=f"{words.count(counts['refused'], 'datagram')} from {address} were "
                    "refused: it is not in collector.allow.",
                    why="If it is one of your routers its traffic is not billed; if not, somebody "
                    "may be trying to invent traffic.",
                    then=f'If it is yours, add "{address}" to allow under [collector], and '
                    "restart the collector.",
                )
            )
    return found


def kernel_drops(report: Report) -> list[Advice]:
    """The socket's buffer was too small for a burst."""
    count = report.dropped("dropped_kernel")
    if not count:
        return []
    return [
        Advice(
            "kernel-drops",
            Severity.WRONG,
            "",
            seen=f"The kernel dropped {words.count(count, 'datagram')} because the collector's "
            "receive buffer was full.",
            why="What is missing is not billed.",
            then=f"Give this command to the collector's host, {_ROOM_TOO}; restart the collector. "
            "Write the sysctl into /etc/sysctl.d/ too. If it goes on, this host is too busy.",
            on_host=_ROOM,
        )
    ]


def journal_drops(report: Report) -> list[Advice]:
    """The disk was full or failed."""
    count = report.dropped("dropped_journal")
    if not count:
        return []
    return [
        Advice(
            "journal-drops",
            Severity.WRONG,
            "",
            seen=f"{words.count(count, 'datagram')} could not be written to the journal.",
            why="What is missing is not billed.",
            then="Make room on the disk, or lower octets_max under [collector.journal].",
            on_host=("df -h", "journalctl -u flowledger --since -1h"),
        )
    ]


def truncated(report: Report) -> list[Advice]:
    """Datagrams were longer than the collector takes."""
    count = report.dropped("truncated")
    if not count:
        return []
    return [
        Advice(
            "truncated",
            Severity.WRONG,
            "",
            seen=f"{words.count(count, 'datagram')} were longer than datagram_octets_max.",
            why="Half a datagram proves nothing, so it is not billed.",
            then="Raise datagram_octets_max under [collector], and restart the collector.",
        )
    ]
