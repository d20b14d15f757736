"""Write RESULTS.md from the saved JSON: for each row the newest run at full scale.

``python -m benchmarks.render`` reads `.benchmarks/`; no figure in the page is typed by hand. What
stands in the way of a row, in words, is in `benchmarks/obstacles.toml`, and shown only while the
row is not reached.
"""

import json
import statistics
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import summary
from benchmarks.rows import Row

FOLDER = Path(__file__).parent
STORAGE = FOLDER.parent / ".benchmarks"
RESULTS = FOLDER / "RESULTS.md"
OBSTACLES = FOLDER / "obstacles.toml"
ORDER = ("decode", "receive", "pipeline", "output", "store", "stored", "lag", "question")
PROFILED = 8
INTRODUCTION = (
    "Written by `./flowledger bench` from its saved runs; no figure here is typed by hand. How it "
    "is measured: [Speed, and how it is measured](../docs/explanation/speed.md). Reached is the "
    "median, then least and greatest."
)


@dataclass(frozen=True, slots=True)
class Saved:
    """A row, and the run that it is from."""

    row: Row
    run: dict[str, Any]  # Machine, versions, load of the machine.
    made_at: str
    commit: str

    @property
    def median(self) -> float:
        return statistics.median(self.row.reached) if self.row.reached else 0.0

    @property
    def is_reached(self) -> bool | None:
        """Say whether it is; None where nothing was asked."""
        if self.row.asked is None:
            return None
        if self.row.is_limit and self.row.unit != "s":
            return max(self.row.reached, default=float("inf")) <= self.row.asked
        if self.row.is_limit:  # Of times it is the median that counts, as of rates.
            return bool(self.row.reached) and self.median <= self.row.asked
        return self.median >= self.row.asked


def main() -> int:
    saved = newest(STORAGE)
    if not saved:
        print(f"{STORAGE} holds no run at full scale; RESULTS.md stays as it is", file=sys.stderr)
        return 0
    obstacles = tomllib.loads(OBSTACLES.read_text())
    RESULTS.write_text(page(saved, obstacles))
    print(f"{RESULTS} written, {len(saved)} rows", file=sys.stderr)
    return 0


def newest(storage: Path) -> list[Saved]:
    """Return each row's newest measurement, in the order of the page."""
    found: dict[str, Saved] = {}
    for path in sorted(storage.glob("*/*.json"), key=lambda path: path.name):
        content = json.loads(path.read_text())
        run = content["machine_info"].get("flowledger", {})
        if run.get("scale") != 1:
            continue
        for benchmark in content["benchmarks"]:
            for values in benchmark["extra_info"].get("rows", ()):
                one = Saved(Row(**values), run, content["datetime"], _commit(content))
                former = found.get(one.row.name)
                if former is None or former.made_at <= one.made_at:
                    found[one.row.name] = one
    # Within a kind the order of the benchmark file stays.
    return sorted(found.values(), key=_place)


def _place(one: Saved) -> int:
    kind = one.row.name.partition("-")[0]
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def page(saved: list[Saved], obstacles: dict[str, str]) -> str:
    """Return the whole page."""
    lines = [
        "# Measured speed",
        "",
        INTRODUCTION,
        "",
        *_machines(saved),
        "",
        "| what | must reach | reached | peer | ratio | |",
        "|---|---|---|---|---|---|",
        *(_line(one) for one in saved),
        "",
        *_obstacles(saved, obstacles),
        "## Details",
        "",
    ]
    for one in saved:
        lines += _details(one)
    return "\n".join(lines).rstrip() + "\n"


def _line(one: Saved) -> str:
    row = one.row
    asked = "" if row.asked is None else f"{_number(row.asked)} {row.unit}"
    if row.asked is not None and row.is_limit:
        asked = f"at most {asked}"
    peer = f"{_spread(row.peer)} ({row.peer_name})" if row.peer else "not measured"
    ratio = f"{one.median / statistics.median(row.peer):.3g}" if row.peer and one.median else ""
    verdict = {None: "", True: "reached", False: "**not reached**"}[one.is_reached]
    return f"| {row.what} | {asked} | {_spread(row.reached)} | {peer} | {ratio} | {verdict} |"


def _obstacles(saved: list[Saved], obstacles: dict[str, str]) -> Iterator[str]:
    missed = [one for one in saved if one.is_reached is False]
    if not missed:
        return
    yield "## What stands in the way"
    yield ""
    for one in missed:
        text = " ".join(obstacles.get(one.row.name, "not looked into yet.").split())
        yield f"- **{one.row.what}**: {text}"
    yield ""


def _details(one: Saved) -> Iterator[str]:
    row = one.row
    if not row.details and not row.profile:
        return
    yield f"### {row.what}"
    yield ""
    for name, value in row.details.items():
        yield f"- {name}: {_value(value)}"
    if row.profile:
        yield ""
        yield "Own time by function, as the profiler sees it:"
        yield ""
        yield "| share | calls | function |"
        yield "|---|---|---|"
        for name, share, calls in row.profile[:PROFILED]:
            yield f"| {share:.0%} | {calls:,.0f} | `{name}` |"
    yield ""


def _machines(saved: list[Saved]) -> Iterator[str]:
    """Yield what it ran on: once for each run that rows are from."""
    runs = {one.made_at: one for one in saved}
    for made_at, one in sorted(runs.items()):
        run = one.run
        count = sum(other.made_at == made_at for other in saved)
        yield (
            f"- **{made_at[:16].replace('T', ' ')} UTC**, commit {one.commit}, {count} rows: "
            f"{run['processor']}, {run['cores']} cores, {run['memory_mib'] / 1024:.0f} GiB; "
            f"{run['system']}, kernel {run['kernel']}; Python {run['python']}, "
            f"numpy {run['numpy']}, polars {run['polars']}; nfdump {run['nfdump'] or 'missing'}. "
            f"One core copies {_spread(run['copy_gb_per_s'])} GB/s (read and written). "
            f"Load average of the machine at the end of the run: {run['load_average']:g}, "
            f"before it: {run['load_before']:g}."
        )


def _value(value: Any) -> str:
    if isinstance(value, dict) and "median" in value:
        return f"{_number(value['median'])} ({_number(value['min'])} to {_number(value['max'])})"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return _value(summary(value)) if value else "none"
    return _number(value) if isinstance(value, int | float) else str(value)


def _spread(values: list[float]) -> str:
    return _value(summary(values)) if values else "nothing"


def _number(value: float) -> str:
    """Write three significant digits, large numbers with k or M."""
    for size, letter in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{_three(value / (1e6 if letter == ' M' else 1e3))}{letter}"
    return _three(value)


def _three(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def _commit(content: dict[str, Any]) -> str:
    info = content.get("commit_info", {})
    return str(info.get("id", ""))[:10] + (" with changes" if info.get("dirty") else "")


if __name__ == "__main__":
    sys.exit(main())
