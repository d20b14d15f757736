"""Rules on how a router is set: timeouts, counters, versions, templates, addresses."""

from typing import Final

from collector.doctor import words
from collector.doctor.advice import Advice, Severity
from collector.doctor.facts import FLOWS_MIN, Exporter

TIMEOUT_MAX_S: Final = 300.0  # Longer than the 5 minutes that usage is counted by.
TIMEOUT_BAD_S: Final = 900.0
REFRESH_MAX_S: Final = 300.0
WRAP: Final = 2**32
_NO_ADDRESS: Final = "0.0.0.0"  # noqa: S104  # Compared, never listened on.
_TEMPLATES: Final = "v9-template-refresh=20 v9-template-timeout=1m"
_SET_TIMEOUTS: Final = "/ip/traffic-flow set active-flow-timeout=1m inactive-flow-timeout=15s"


def source_address(exporter: Exporter) -> Advice | None:
    """The router sends from no address at all."""
    if exporter.address != _NO_ADDRESS:
        return None
    return Advice(
        "source-address",
        Severity.WRONG,
        exporter.address,
        seen=f"{words.count(exporter.datagrams, 'datagram')} came from {exporter.address}.",
        why="Nobody can tell which router sent them, and two such routers become one.",
        then="For <ROUTER-IP> write an address of the router that never changes, best that of "
        "its loopback.",
        commands=("/ip/traffic-flow/target set [find] src-address=<ROUTER-IP>",),
    )


def sampling(exporter: Exporter) -> Advice | None:
    """Only some of the packets are counted."""
    if exporter.sampling <= 1:
        return None
    return Advice(
        "sampling",
        Severity.WRONG,
        exporter.address,
        seen=f"One packet in {exporter.sampling:,} is looked at, in "
        f"{words.share(exporter.share(exporter.sampled_flows))} of the flows.",
        why="What is billed would be an estimate, and small flows are missing altogether.",
        commands=("/ip/traffic-flow set packet-sampling=no",),
    )


def active_timeout(exporter: Exporter) -> Advice | None:
    """Long flows are reported too late."""
    timeout_s = exporter.active_timeout_s
    is_long = timeout_s is not None and timeout_s >= TIMEOUT_MAX_S
    if not is_long and exporter.flows_over_5m < 3:
        return None
    if timeout_s is not None and is_long:
        how = "the router says so" if exporter.is_timeout_told else "most long flows last that long"
        seen = f"Long flows are cut after about {words.duration(timeout_s)} ({how})."
    else:
        timeout_s = exporter.longest_flow_s
        seen = (
            f"{words.count(exporter.flows_over_5m, 'flow')} lasted more than 5 minutes, up to "
            f"{words.duration(timeout_s)}, and came in one piece."
        )
    why = f"Traffic shows up to {words.duration(timeout_s)} late, all at once."
    is_narrow = exporter.counter_octets is None or exporter.counter_octets <= 4
    if is_narrow:
        rate = words.bits_per_s(WRAP / timeout_s)
        why += f" The 32-bit octet counter starts again at 0 in every flow faster than {rate}."
    is_bad = is_narrow and timeout_s >= TIMEOUT_BAD_S
    return Advice(
        "active-timeout",
        Severity.WRONG if is_bad else Severity.RISK,
        exporter.address,
        seen=seen,
        why=why,
        commands=(_SET_TIMEOUTS,),
    )


def counter_wraps(exporter: Exporter) -> Advice | None:
    """Octet counters of 32 bits overflow, or nearly."""
    if exporter.counter_octets != 4:
        return None
    parts = []
    if exporter.repaired:
        parts.append(
            f"{words.count(exporter.repaired, 'flow')} passed 4.29 GB and could be put right "
            f"(+{words.octets(exporter.repaired_octets)})"
        )
    if exporter.unproven:
        parts.append(
            f"{words.count(exporter.unproven, 'flow')} may have passed it (at most "
            f"{words.octets(exporter.unproven_octets)}, never billed)"
        )
    if exporter.large:
        parts.append(
            f"{words.count(exporter.large, 'flow')} counted more than half of it (largest "
            f"{words.octets(exporter.largest_octets)})"
        )
    if not parts:
        return None
    severity = Severity.HINT
    if exporter.repaired or exporter.unproven:
        severity = Severity.WRONG if exporter.unproven else Severity.RISK
    timeout_s = exporter.active_timeout_s
    commands: tuple[str, ...] = (_SET_TIMEOUTS,)
    then = ""
    if timeout_s is not None and timeout_s <= 90:
        # Already short: only wider counters help.
        commands = (f"/ip/traffic-flow/target set [find] version=ipfix {_TEMPLATES}",)
        then = (
            "With IPFIX newer RouterOS may count in 8 octets: see whether the column 'counter' "
            "says so afterwards. If not, active-flow-timeout=30s halves the risk."
        )
    return Advice(
        "counter-wraps",
        severity,
        exporter.address,
        seen=f"Octets are counted in 4 octets: {', '.join(parts)}.",
        why="A counter of 4 octets starts again at 0 after 4.29 GB, and the rest is not billed.",
        then=then,
        commands=commands,
    )


def old_version(exporter: Exporter) -> Advice | None:
    """NetFlow v1 and v5 cannot say enough."""
    if exporter.version > 5:
        return None
    return Advice(
        "old-version",
        Severity.RISK,
        exporter.address,
        seen=f"The router sends NetFlow {exporter.label}.",
        why="It has no IPv6, no translated addresses, interface numbers of 16 bits and octet "
        "counters of 32 bits. IPv6 traffic is in no bill.",
        commands=(
            f"/ip/traffic-flow/target set [find version={exporter.version}] version=9 {_TEMPLATES}",
        ),
    )


def slow_templates(exporter: Exporter) -> Advice | None:
    """Without a template nothing can be read, and it comes too rarely."""
    if not exporter.has_templates or not exporter.datagrams:
        return None
    age_s, refresh_s = exporter.template_age_s, exporter.template_refresh_s
    if age_s is None:
        if exporter.window_s < REFRESH_MAX_S:
            return None
        seen = f"No template came in {words.duration(exporter.window_s)}."
    elif max(age_s, refresh_s or 0.0) > REFRESH_MAX_S:
        seen = f"The last template is {words.duration(age_s)} old"
        seen += f"; they come every {words.duration(refresh_s)}." if refresh_s else "."
    else:
        return None
    return Advice(
        "slow-templates",
        Severity.RISK,
        exporter.address,
        seen=seen,
        why="After a change on the router nothing it sends can be read until the next template.",
        then="Both settings hold for IPFIX too.",
        commands=(f"/ip/traffic-flow/target set [find] {_TEMPLATES}",),
    )


def no_ipv6(exporter: Exporter) -> Advice | None:
    """The router does not know IPv6."""
    is_known = exporter.has_templates and exporter.template_age_s is not None
    if not is_known or exporter.has_ipv6_template or exporter.ipv6 or exporter.flows < FLOWS_MIN:
        return None
    return Advice(
        "no-ipv6",
        Severity.HINT,
        exporter.address,
        seen=f"No template for IPv6 is announced; all {words.count(exporter.flows, 'flow')} are "
        "IPv4.",
        why="If subscribers have IPv6 here, that traffic is in no bill.",
        then="Nothing to do where nobody has IPv6. RouterOS 6 must be restarted afterwards.",
        commands=("/ipv6/settings set disable-ipv6=no",),
        commands_v6=("/system package enable ipv6",),
    )
