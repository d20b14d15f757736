"""The language of filters: nfdump's, with terms of ours, compiled to conditions of SQL."""

from storage.clickhouse.filters.compiling import (
    Condition,
    compile_filter,
    country_code,
    country_number,
    lacks,
)
from storage.clickhouse.filters.mistakes import FilterError
from storage.clickhouse.filters.parsing import parse
from storage.clickhouse.filters.protocols import protocol_name
from storage.clickhouse.filters.resolving import NoNames, Resolver, UnknownNameError
from storage.clickhouse.filters.tree import Filter

__all__ = [
    "Condition",
    "Filter",
    "FilterError",
    "NoNames",
    "Resolver",
    "UnknownNameError",
    "compile_filter",
    "country_code",
    "country_number",
    "lacks",
    "parse",
    "protocol_name",
]
