"""From arguments to a question, and to the store that answers it."""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.folders import data_folder
from app.questions.names import names_of
from app.questions.settings import Settings, load_settings
from app.questions.times import parse_period, parse_zone
from core.clock import SystemClock
from core.errors import FlowledgerError, UsageError
from storage.clickhouse.filters import parse
from storage.clickhouse.queries import Question
from storage.clickhouse.queries.dimensions import dimensions

if TYPE_CHECKING:
    from storage.clickhouse.client import Store


def question_of(args: argparse.Namespace, data: Path) -> Question:
    """Return what is asked; refuses a filter or time that cannot be understood."""
    zone = parse_zone(args.zone)
    period = parse_period(
        last=args.last, start=args.start, end=args.end, zone=zone, clock=SystemClock()
    )
    check_arguments(args)
    names, labels = names_of(data)
    words = " ".join(getattr(args, "words", None) or ())
    if args.filter and words:
        raise UsageError(f"--filter and {words!r} are two filters; join them with `and` in one")
    text = args.filter or words
    return Question(
        period=period,
        filter=parse(text) if text else None,
        names=names,
        labels=labels,
        table=args.table or "",
        is_sampled=not args.unsampled,
        is_exact=args.exact,
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse what no store is needed to see, for one may have to be started."""
    if by := getattr(args, "by", ""):
        dimensions([part for part in by.split(",") if part.strip()])
    if getattr(args, "limit", 1) < 1:
        raise UsageError(f"--limit {args.limit}: must be at least 1")


def configured(args: argparse.Namespace) -> tuple[Settings, Path]:
    """Return the configuration, and the data folder whose store is asked."""
    config = load_settings(args.config)
    data = data_folder(args.data, config)
    if not config.store.url and not (data / "store").is_dir():
        raise FlowledgerError(
            f"{data} holds no store; name the data folder of `flowledger serve` with --data"
        )
    return config, data


@contextmanager
def reader(config: Settings, data: Path) -> "Iterator[Store]":
    """Give the store as its reader; Ctrl-C ends what it is asked."""
    from storage.clickhouse.client import open_store

    # A connection that is cut ends its query in the store.
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with open_store(config.store, data, "reader") as store:
            yield store
    finally:
        signal.signal(signal.SIGTERM, former)
