"""Numbers as people read them: with a prefix and a unit, as a bar, as a row of blocks."""

from collections.abc import Sequence

from storage.clickhouse.queries import Metric, Sums

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
BAR = 12
_BLOCKS = " ▏▎▍▌▋▊▉█"
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKS_MAX = 60
UNITS = {
    Metric.OCTETS: "B",
    Metric.PACKETS: "",
    Metric.FLOWS: "",
    Metric.BPS: "bit/s",
    Metric.PPS: "/s",
    Metric.FPS: "/s",
}


def short(value: float, unit: str = "") -> str:
    """Write a number with three digits, a prefix of 1,000s and its unit: 12.3 MB."""
    step = 0
    # From 999.5 on it would be rounded to four digits.
    while abs(value) >= 999.5 and step < len(_PREFIXES) - 1:
        value /= 1_000
        step += 1
    digits = 0 if (not step and float(value).is_integer()) or abs(value) >= 99.95 else 1
    return f"{value:.{digits}f} {_PREFIXES[step]}{unit}".rstrip()


def signed(value: float, unit: str = "") -> str:
    """Write a change."""
    return f"{'+' if value > 0 else ''}{short(value, unit)}"


def share(part: float, whole: float) -> str:
    """Write a part of a whole."""
    return f"{part / whole:.1%}" if whole else "-"


def bar(part: float, whole: float, width: int = BAR) -> str:
    """Return a part of a whole as a bar."""
    eighths = round(max(0.0, min(1.0, part / whole if whole else 0.0)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_BLOCKS[rest] if rest else "")


def sparkline(values: Sequence[float]) -> str:
    """Return a row of numbers as blocks of that height; many are averaged into one."""
    if not values:
        return ""
    step = -(-len(values) // _SPARKS_MAX)
    groups = [values[at : at + step] for at in range(0, len(values), step)]
    means = [sum(group) / len(group) for group in groups]
    most = max(means)
    return "".join(_SPARKS[int(mean / most * 7.999)] if most > 0 else _SPARKS[0] for mean in means)


def counts(sums: Sums) -> tuple[str, str, str]:
    """Write octets, packets and flows."""
    return short(sums.octets, "B"), short(sums.packets), short(sums.flows)
