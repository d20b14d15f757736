"""How flows divide: through a chain of dimensions, and how many different values there are."""

import polars as pl

from app.questions.asked import Asked
from app.questions.tables import Column
from app.questions.words import short
from storage.clickhouse.queries import distinct, sankey


def show_sankey(asked: Asked) -> None:
    """Show the links between neighbours of a chain."""
    keys = asked.keys()
    found = sankey(
        asked.store, asked.question, list(keys), metric=asked.metric, limit=asked.args.limit
    )
    asked.told(found.told)
    if asked.is_written(found.links):
        return
    if not found.frame.height:
        asked.nothing(found.told)
        return
    labels = list(keys.values())
    for stage, links in enumerate(found.links.partition_by("stage", maintain_order=True)):
        columns = [
            Column(labels[stage]),
            Column(labels[stage + 1]),
            Column("Octets", is_number=True),
            Column("Packets", is_number=True, goes=2),
            Column("Flows", is_number=True, goes=1),
        ]
        rows = [
            [
                *(row[name] for name in ("source", "target")),
                *(short(row["octets"], "B"), short(row["packets"]), short(row["flows"])),
            ]
            for row in links.iter_rows(named=True)
        ]
        asked.screen.table(columns, rows)
        asked.screen.line("")
    asked.said(found.told)


def show_distinct(asked: Asked) -> None:
    """Show how many different values dimensions have."""
    keys = asked.keys()
    counts, told = distinct(asked.store, asked.question, list(keys))
    asked.told(told)
    rows = [{"dimension": name, "distinct": count} for name, count in counts.items()]
    schema = {"dimension": pl.String, "distinct": pl.Int64}
    if asked.is_written(pl.DataFrame(rows, schema=schema)):
        return
    columns = [Column("Dimension"), Column("Different", is_number=True)]
    asked.screen.table(columns, [[keys[name], f"{count:,}"] for name, count in counts.items()])
    asked.said(told)
