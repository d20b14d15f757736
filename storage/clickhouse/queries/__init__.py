"""Every question that is put to the store, typed, with its SQL named and parameterised."""

from storage.clickhouse.queries.contents import Contents, contents
from storage.clickhouse.queries.dimensions import DIMENSIONS, Dimension, Labels, NoLabels
from storage.clickhouse.queries.dividing import (
    Breakdown,
    Sankey,
    breakdown,
    distinct,
    sankey,
)
from storage.clickhouse.queries.extracts import (
    Extract,
    Survey,
    extract,
    slices,
    summed_columns,
    survey,
)
from storage.clickhouse.queries.loss import Loss, loss, loss_by_exporter
from storage.clickhouse.queries.planning import Asks, Plan, Question, plan
from storage.clickhouse.queries.records import Page, records
from storage.clickhouse.queries.scope import PLATFORM, Period, Scope
from storage.clickhouse.queries.series import Series, Totals, series, step_for, totals
from storage.clickhouse.queries.sums import Metric, Sums
from storage.clickhouse.queries.telling import Granules, Told, granules
from storage.clickhouse.queries.top import Compared, Top, compare, top
from storage.clickhouse.queries.who import Evidence, who

__all__ = [
    "DIMENSIONS",
    "PLATFORM",
    "Asks",
    "Breakdown",
    "Compared",
    "Contents",
    "Dimension",
    "Evidence",
    "Extract",
    "Granules",
    "Labels",
    "Loss",
    "Metric",
    "NoLabels",
    "Page",
    "Period",
    "Plan",
    "Question",
    "Sankey",
    "Scope",
    "Series",
    "Sums",
    "Survey",
    "Told",
    "Top",
    "Totals",
    "breakdown",
    "compare",
    "contents",
    "distinct",
    "extract",
    "granules",
    "loss",
    "loss_by_exporter",
    "plan",
    "records",
    "sankey",
    "series",
    "slices",
    "step_for",
    "summed_columns",
    "survey",
    "top",
    "totals",
    "who",
]
