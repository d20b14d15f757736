"""Numbers as people read them, always with their unit."""

from typing import Final

_STEPS: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def duration(seconds: float) -> str:
    """Write a time as RouterOS does, in at most two units: ``1m``, ``29m30s``, ``3d4h``."""
    whole = round(seconds)
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    text = ""
    units = 0
    for size, unit in _UNITS:
        amount, whole = divmod(whole, size)
        if amount and units < 2:
            text += f"{amount}{unit}"
            units += 1
        elif units:
            break
    return text or "0s"


def scaled(number: float) -> str:
    """Write a number with three digits and its power of 1000: ``12.3 M``."""
    for step, prefix in _STEPS:
        if number >= 0.9995 * step:
            value = number / step
            return f"{value:.{_digits(value)}f} {prefix}"
    return f"{number:.{0 if number == round(number) else _digits(number)}f}"


def octets(number: float) -> str:
    """Write octets: ``12.3 MB``."""
    text = scaled(number)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"


def bits_per_s(octets_per_s: float) -> str:
    """Write a rate of octets in bits: ``98.4 Mbit/s``."""
    text = scaled(octets_per_s * 8)
    return f"{text}bit/s" if text[-1].isalpha() else f"{text} bit/s"


def share(part: float) -> str:
    """Write a share in percent; what is there is never written as nothing."""
    percent = part * 100
    if 0 < percent < 0.01:
        return "<0.01 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.{2 if 0 < percent < 1 else 1 if percent < 10 else 0}f} %"


def count(number: int, noun: str) -> str:
    """Write how many of something there are: ``1 flow``, ``1,200 flows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clock_offset(offset_ms: int) -> str:
    """Write how far a router's clock is from ours: ``-7m`` is behind."""
    if abs(offset_ms) < 2_000:
        return "0s"
    return ("-" if offset_ms > 0 else "+") + duration(abs(offset_ms) / 1000)


def _digits(value: float) -> int:
    return 0 if value >= 99.95 else 1 if value >= 9.995 else 2
