"""Reads filters; the grammar, which takes time to load, only for those that say something."""

from storage.clickhouse.filters.tree import Anything, Filter


def parse(text: str) -> Filter:
    """Return the meaning of a filter; an empty one is true of everything."""
    if not text:
        return Filter(text, Anything())
    from storage.clickhouse.filters import grammar

    return grammar.parse(text)
