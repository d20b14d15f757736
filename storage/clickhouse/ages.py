"""How long each table keeps its rows, by operator where one says so."""

from dataclasses import dataclass

from core.config import ConfigError, Duration, setting
from core.config_values import DURATION, BadValueError
from core.schema import TABLES, Table

_YEARS = 365 * 86_400.0
_BY_NAME = {table.name: table for table in TABLES}
# Seconds of a century: what a store can count, and more than anybody keeps.
_MOST = 100 * _YEARS


@dataclass(frozen=True, slots=True)
class Retention:
    """What is older goes; 0 keeps for ever."""

    flows: Duration = setting(30 * 86_400.0, doc="Age at which flows go; 0 keeps them for ever.")
    nat_events: Duration = setting(_YEARS, doc="The same for NAT events.")
    exporter_health: Duration = setting(_YEARS, doc="The same for the loss ledger.")
    rollup_5m: Duration = setting(90 * 86_400.0, doc="The same for the rollup by 5 minutes.")
    rollup_1h: Duration = setting(3 * _YEARS, doc="The same for the rollup by hour.")
    usage_5m: Duration = setting(7 * _YEARS, doc="The same for usage, which money is read from.")
    operators: tuple[str, ...] = setting(
        (),
        doc="What single operators keep otherwise, by number: `7 flows=90d nat_events=730d`.",
    )

    def __post_init__(self) -> None:
        for table in TABLES:
            seconds = getattr(self, table.name)
            if seconds > _MOST or 0 < seconds < 3_600:
                raise ConfigError(table.name, "must be 0 or from 1h to 36500d")
        seen: set[int] = set()
        for line in self.operators:
            operator, _ = _parsed(line)
            if operator in seen:
                raise ConfigError("operators", f"operator {operator} stands twice")
            seen.add(operator)

    def seconds(self, table: Table) -> int:
        """Return the age at which rows go, 0 for never."""
        return int(getattr(self, table.name))

    def exceptions(self, table: Table) -> dict[int, int]:
        """Return what single operators keep otherwise: their number and the age in seconds."""
        lines = (_parsed(line) for line in self.operators)
        found = {number: ages[table.name] for number, ages in lines if table.name in ages}
        usual = self.seconds(table)
        return {number: found[number] for number in sorted(found) if found[number] != usual}


def _parsed(line: str) -> tuple[int, dict[str, int]]:
    """Return an operator's number and ages by table."""
    first, *rest = line.split() or [""]
    if not first.isdecimal() or not 0 < int(first) < 2**32 or not rest:
        raise ConfigError("operators", f"{line!r}: write a number and ages, `7 flows=90d`")
    ages: dict[str, int] = {}
    for each in rest:
        name, _, text = each.partition("=")
        table = _BY_NAME.get(name)
        if table is None or "operator_id" not in table.names:
            able = ", ".join(one.name for one in TABLES if "operator_id" in one.names)
            raise ConfigError("operators", f"{line!r}: {name!r} is not one of {able}")
        if name in ages:
            raise ConfigError("operators", f"{line!r}: {name} stands twice")
        try:
            ages[name] = int(DURATION.parse(text))
        except BadValueError as error:
            raise ConfigError("operators", f"{line!r}: {name} {error}") from error
        if ages[name] > _MOST or 0 < ages[name] < 3_600:
            raise ConfigError("operators", f"{line!r}: {name} must be 0 or from 1h to 36500d")
    return int(first), ages
