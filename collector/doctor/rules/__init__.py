"""All rules, and the advice that they give for a report."""

from collections.abc import Callable
from typing import Final

from collector.doctor.advice import Advice
from collector.doctor.facts import Exporter
from collector.doctor.report import Report
from collector.doctor.rules import arrival, settings, sight

# One look at one stream.
BY_STREAM: Final[tuple[Callable[[Exporter], Advice | None], ...]] = (
    settings.source_address,
    settings.sampling,
    settings.active_timeout,
    settings.counter_wraps,
    settings.old_version,
    settings.slow_templates,
    settings.no_ipv6,
    arrival.unreadable_sets,
    arrival.clock,
    arrival.shared_address,
    arrival.duplicates,
    sight.after_nat,
    sight.downloads_hidden,
)
# A look at all of them together.
BY_REPORT: Final[tuple[Callable[[Report], list[Advice]], ...]] = (
    sight.two_exporters,
    sight.two_targets,
    sight.both_interfaces,
    arrival.loss,
    arrival.silence,
    arrival.refused,
    arrival.kernel_drops,
    arrival.journal_drops,
    arrival.truncated,
)


def advise(report: Report) -> list[Advice]:
    """Return what should be mended: the worst first, then by exporter, each rule once for it."""
    found = [
        advice
        for exporter in report.exporters
        for rule in BY_STREAM
        if (advice := rule(exporter)) is not None
    ]
    for look in BY_REPORT:
        found += look(report)
    place = {exporter.address: number for number, exporter in enumerate(report.exporters)}
    found.sort(key=lambda advice: (advice.severity, place.get(advice.exporter, len(place))))
    once: dict[tuple[str, str, str], Advice] = {}
    for advice in found:
        # The same router in two versions or domains needs the same command only once.
        once.setdefault((advice.exporter, advice.rule, advice.other), advice)
    return list(once.values())
