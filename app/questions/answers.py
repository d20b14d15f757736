"""Which function shows the answer to which question."""

from collections.abc import Callable

from app.questions.asked import Asked
from app.questions.flowing import show_distinct, show_sankey
from app.questions.greatest import show_breakdown, show_compare, show_top
from app.questions.listing import show_loss, show_records, show_who
from app.questions.moving import show_series, show_totals

ANSWERS: dict[str, Callable[[Asked], None]] = {
    "top": show_top,
    "compare": show_compare,
    "series": show_series,
    "totals": show_totals,
    "breakdown": show_breakdown,
    "sankey": show_sankey,
    "distinct": show_distinct,
    "list": show_records,
    "who": show_who,
    "loss": show_loss,
}
