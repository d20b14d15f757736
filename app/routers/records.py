"""A router's state as plain values, for JSON and CSV."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from collector.doctor import Advice, Exporter, Report, advise

COLLECTOR = "collector"  # Stands for this host where advice is not about a router.


def record(exporter: Exporter) -> dict[str, Any]:
    """Return one flat record; what is not known is None, shares are from 0 to 1."""
    loss = exporter.loss
    ipv4, flows = max(exporter.ipv4, 1), max(exporter.flows, 1)
    return {
        "exporter_addr": named(exporter.address),
        "flow_version": exporter.version,
        "observation_domain": exporter.domain,
        "window_s": _rounded(exporter.window_s),
        "silent_s": _rounded(exporter.silent_s),
        "datagrams": exporter.datagrams,
        "flows": exporter.flows,
        "octets": exporter.octets,
        "packets": exporter.packets,
        "datagrams_per_s": _rounded(exporter.datagrams_per_s),
        "flows_per_s": _rounded(exporter.flows_per_s),
        "octets_per_s": _rounded(exporter.octets_per_s),
        "loss_unit": loss.unit or None,
        "loss_share": round(loss.share, 6) if loss.unit else None,
        "gap": loss.gap,
        "gap_uncertain": loss.gap_uncertain,
        "received": loss.received,
        "gap_datagrams_known": loss.known_datagrams,
        "lost_octets": loss.lost_octets,
        "lost_octets_low": loss.lost_octets_low,
        "lost_octets_high": loss.lost_octets_high,
        "duplicates": loss.duplicates,
        "reordered": loss.reordered,
        "restarts": loss.restarts,
        "strays": loss.strays,
        "errors": loss.errors,
        "waiting_sets": loss.still_waiting,
        "template_age_s": _rounded(exporter.template_age_s),
        "template_refresh_s": _rounded(exporter.template_refresh_s),
        "counter_octets": exporter.counter_octets,
        "active_timeout_s": exporter.active_timeout_s,
        "active_timeout_told": exporter.is_timeout_told,
        "inactive_timeout_s": exporter.inactive_timeout_s,
        "longest_flow_s": _rounded(exporter.longest_flow_s),
        "sampling": exporter.sampling,
        "clock_offset_ms": exporter.clock_offset_ms,
        "uptime_s": _rounded(exporter.uptime_s),
        "source_ports": len(exporter.ports),
        "interface_0_share": round(exporter.router_itself / flows, 6),
        "ipv6_share": round(exporter.ipv6 / flows, 6),
        "private_source_share": round(exporter.private_src / ipv4, 6),
        "nat_position": str(exporter.nat_position),
        "wraps_repaired": exporter.repaired,
        "wraps_unproven": exporter.unproven,
    }


def advice_record(advice: Advice) -> dict[str, Any]:
    """Return one piece of advice."""
    return {
        "rule": advice.rule,
        "severity": str(advice.severity),
        "exporter_addr": named(advice.exporter) if advice.exporter else None,
        "other_exporter_addr": advice.other or None,
        "seen": advice.seen,
        "why": advice.why,
        "then": advice.then or None,
        "commands": list(advice.commands),
        "commands_v6": list(advice.for_v6),
        "commands_on_host": list(advice.on_host),
    }


def as_json(report: Report, *, has_advice: bool) -> str:
    """Return one document."""
    document: dict[str, Any] = {
        "from": time_text(report.started_ms) if report.exporters else None,
        "to": time_text(report.ended_ms) if report.exporters else None,
        "exporters": [record(exporter) for exporter in report.exporters],
    }
    if has_advice:
        document["advice"] = [advice_record(advice) for advice in advise(report)]
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_ndjson(report: Report, *, has_advice: bool) -> Iterator[str]:
    """Yield a line for each router, its advice within; what is about no router comes last."""
    advice = advise(report) if has_advice else []
    left = list(advice)
    for exporter in report.exporters:
        line = record(exporter)
        if has_advice:
            mine = [one for one in advice if one.exporter == exporter.address]
            left = [one for one in left if one.exporter != exporter.address]
            line["advice"] = [advice_record(one) for one in mine]
        yield json.dumps(line, ensure_ascii=False) + "\n"
    if left:
        others = [advice_record(one) for one in left]
        yield json.dumps({"exporter_addr": None, "advice": others}, ensure_ascii=False) + "\n"


def as_csv(report: Report, *, has_advice: bool) -> str:
    """Return a table; the names of the rules that found something are in the last column."""
    advice = advise(report) if has_advice else []
    text = StringIO(newline="")
    writer: csv.DictWriter[str] | None = None
    for exporter in report.exporters:
        line = record(exporter)
        if has_advice:
            rules = [one.rule for one in advice if one.exporter == exporter.address]
            line["advice"] = " ".join(rules)
        if writer is None:
            writer = csv.DictWriter(text, list(line), lineterminator="\n")
            writer.writeheader()
        writer.writerow(line)
    return text.getvalue()


def named(address: str) -> str | None:
    """Return the address; None when the file did not say who sent it."""
    return None if address == "::" else address


def time_text(time_ms: int) -> str:
    """Write a time as ISO 8601 in UTC."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
