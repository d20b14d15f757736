"""Counters, gauges and histograms with bounded labels, printed as Prometheus text."""

import math
import re
import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

SERIES_MAX = 4_096  # A metric's label combinations; the rest are counted under `other`.
OTHER = "other"
SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_Key = tuple[str, ...]
_M = TypeVar("_M", bound="_Metric")


class _Metric(ABC):
    """What the three kinds have in common: a name, labels, and a bound on their combinations."""

    kind = ""
    __slots__ = ("_lock", "_series_max", "doc", "folded", "labels", "name")

    def __init__(self, name: str, doc: str, labels: Sequence[str], series_max: int) -> None:
        for word in (name, *labels):
            if not _NAME.match(word):
                raise ValueError(f"{word!r} cannot name a metric or label: use a-z, 0-9 and _")
        self.name = name
        self.doc = doc
        self.labels = tuple(labels)
        self.folded = 0  # Times that a new combination went to `other`, for want of room.
        self._series_max = series_max
        self._lock = threading.Lock()

    def _key(self, labels: dict[str, object], known: Mapping[_Key, object]) -> _Key:
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has labels {self.labels}, not {tuple(labels)}")
        try:
            key = tuple(str(labels[label]) for label in self.labels)
        except KeyError as error:
            raise ValueError(
                f"{self.name} has labels {self.labels}, not {tuple(labels)}"
            ) from error
        if key not in known and len(known) >= self._series_max and key:
            self.folded += 1
            return (OTHER,) * len(self.labels)
        return key

    @abstractmethod
    def samples(self) -> Iterator[str]:
        """Yield the lines of the text format, without the heading."""


class _Plain(_Metric):
    """One number for each combination of labels."""

    __slots__ = ("_values",)

    def __init__(self, name: str, doc: str, labels: Sequence[str], series_max: int) -> None:
        super().__init__(name, doc, labels, series_max)
        self._values: dict[_Key, float] = {}
        if not labels:
            self._values[()] = 0

    def value(self, **labels: object) -> float:
        """Return the number for these labels, 0 if nothing was counted."""
        return self._values.get(tuple(str(labels[label]) for label in self.labels), 0)

    def total(self) -> float:
        """Return the sum over all labels."""
        with self._lock:
            return sum(self._values.values())

    def samples(self) -> Iterator[str]:
        """Yield one line for each combination of labels, in their order."""
        with self._lock:
            values = sorted(self._values.items())
        for key, value in values:
            yield f"{self.name}{_label_text(self.labels, key)} {_number(value)}"


class Counter(_Plain):
    """A number that only grows."""

    kind = "counter"
    __slots__ = ()

    def add(self, amount: float = 1, **labels: object) -> None:
        """Count ``amount`` more."""
        if amount < 0:
            raise ValueError(f"{self.name} is a counter and cannot take {amount}")
        with self._lock:
            key = self._key(labels, self._values)
            self._values[key] = self._values.get(key, 0) + amount


class Gauge(_Plain):
    """A number that goes up and down."""

    kind = "gauge"
    __slots__ = ()

    def set(self, value: float, **labels: object) -> None:
        """Say what it is now."""
        with self._lock:
            self._values[self._key(labels, self._values)] = value

    def forget(self, **labels: object) -> None:
        """Drop these labels, for a thing that is gone."""
        with self._lock:
            self._values.pop(tuple(str(labels[label]) for label in self.labels), None)


class Histogram(_Metric):
    """How many observations were at most each bound."""

    kind = "histogram"
    __slots__ = ("_counts", "_sums", "bounds")

    def __init__(
        self, name: str, doc: str, labels: Sequence[str], series_max: int, bounds: Sequence[float]
    ) -> None:
        super().__init__(name, doc, labels, series_max)
        if list(bounds) != sorted(set(bounds)) or not bounds:
            raise ValueError(f"{name} needs rising bounds, not {tuple(bounds)}")
        self.bounds = tuple(bounds)
        self._counts: dict[_Key, list[int]] = {}
        self._sums: dict[_Key, float] = {}

    def observe(self, value: float, **labels: object) -> None:
        """Count one observation."""
        with self._lock:
            key = self._key(labels, self._counts)
            counts = self._counts.setdefault(key, [0] * (len(self.bounds) + 1))
            counts[bisect_left(self.bounds, value)] += 1
            self._sums[key] = self._sums.get(key, 0.0) + value

    def count(self, **labels: object) -> int:
        """Return the number of observations for these labels."""
        return sum(self._counts.get(tuple(str(labels[label]) for label in self.labels), ()))

    def samples(self) -> Iterator[str]:
        """Yield cumulative buckets, sum and count for each combination of labels."""
        with self._lock:
            series = sorted((key, list(counts)) for key, counts in self._counts.items())
            sums = dict(self._sums)
        names = (*self.labels, "le")
        for key, counts in series:
            bounds = (*map(_number, self.bounds), "+Inf")
            for bound, count in zip(bounds, accumulate(counts), strict=True):
                yield f"{self.name}_bucket{_label_text(names, (*key, bound))} {count}"
            yield f"{self.name}_sum{_label_text(self.labels, key)} {_number(sums[key])}"
            yield f"{self.name}_count{_label_text(self.labels, key)} {sum(counts)}"


class Metrics:
    """All metrics of a process. Asking for the same one again returns it."""

    __slots__ = ("_by_name", "_series_max")

    def __init__(self, *, series_max: int = SERIES_MAX) -> None:
        self._by_name: dict[str, _Metric] = {}
        self._series_max = series_max

    def counter(self, name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
        """Declare a counter; its name ends in ``_total``."""
        if not name.endswith("_total"):
            raise ValueError(f"counter {name!r} must end in _total")
        return self._declare(Counter(name, doc, labels, self._series_max))

    def gauge(self, name: str, doc: str, labels: Sequence[str] = ()) -> Gauge:
        """Declare a gauge."""
        return self._declare(Gauge(name, doc, labels, self._series_max))

    def histogram(
        self, name: str, doc: str, labels: Sequence[str] = (), bounds: Sequence[float] = SECONDS
    ) -> Histogram:
        """Declare a histogram; ``bounds`` are upper ones, rising."""
        return self._declare(Histogram(name, doc, labels, self._series_max, bounds))

    def render(self) -> str:
        """Return everything in the Prometheus text format, by name."""
        lines = []
        for name, metric in sorted(self._by_name.items()):
            lines += [f"# HELP {name} {_escape(metric.doc)}", f"# TYPE {name} {metric.kind}"]
            lines += metric.samples()
        folded = sum(metric.folded for metric in self._by_name.values())
        lines += [
            "# HELP flowledger_metrics_folded_total Values put under `other` for want of room.",
            "# TYPE flowledger_metrics_folded_total counter",
            f"flowledger_metrics_folded_total {folded}",
        ]
        return "\n".join(lines) + "\n"

    def _declare(self, metric: _M) -> _M:
        known = self._by_name.setdefault(metric.name, metric)
        if type(known) is not type(metric) or known.labels != metric.labels:
            raise ValueError(
                f"{metric.name} is already a {known.kind} with labels {known.labels}; "
                "choose another name"
            )
        return known


def _label_text(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = zip(names, values, strict=True)
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in pairs) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
