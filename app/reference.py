"""Reference pages and TOML, rendered from the record declarations and the configuration tree."""

from collections.abc import Callable
from functools import partial

from collector.elements import lookup
from core.config import ENVIRONMENT_PREFIX, MASK, Leaf, leaves
from core.config_values import render_leaf
from core.schema import EXPORTER_HEALTH, FLOWS, NAT_EVENTS, Stage, Table

REFRESH = "flowledger config reference"
_STAGES = {
    Stage.DATAGRAM: "the datagram",
    Stage.RECORD: "the record",
    Stage.ATTRIBUTE: "attribution",
    Stage.LOAD: "loading",
}


def table_page(table: Table) -> str:
    """Return the page of one record."""
    lines = [
        f"# The {table.name} record",
        "",
        _NOTE,
        "",
        table.doc,
        "",
        f"Sorted by {', '.join(table.order_by)}; partitioned by `{table.partition_by}`.",
        "",
        "| column | kind | unit | meaning | filled from | IPFIX elements |",
        "|---|---|---|---|---|---|",
    ]
    for column in table.columns:
        elements = ", ".join(_element(number) for number in column.elements)
        cells = (
            f"`{column.name}`",
            column.kind.label,
            column.unit,
            column.doc,
            _STAGES[column.stage],
            elements,
        )
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, "", _READING, ""])


def configuration_page() -> str:
    """Return the page of all settings."""
    from app.config import Config

    lines = ["# Configuration", "", _NOTE, "", _CONFIGURATION]
    table = ""
    for leaf in leaves(Config()):
        parent, _, key = leaf.path.rpartition(".")
        if parent != table:
            table = parent
            lines += [
                "",
                f"## [{table}]",
                "",
                "| key | kind | default | meaning |",
                "|---|---|---|---|",
            ]
        cells = (f"`{key}`", leaf.type_name, f"`{_default(leaf)}`", leaf.doc)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, ""])


def commands_page() -> str:
    """Return the page of all commands."""
    from app.cli import COMMANDS, load_command

    lines = ["# Commands", "", _NOTE, "", _COMMANDS]
    for name, (_, about) in COMMANDS.items():
        command = load_command(name)
        lines += ["", f"## {name}", "", f"{about[0].upper()}{about[1:]}.", ""]
        lines += ["```sh", *command.EXAMPLE.strip().splitlines(), "```"]
    return "\n".join([*lines, ""])


def filters_page() -> str:
    """Return the page of the filter language."""
    from storage.clickhouse.filters import page

    return page.filters_page(_NOTE)


def dimensions_page() -> str:
    """Return the page of what flows can be grouped by."""
    from storage.clickhouse.queries.page import dimensions_page

    return dimensions_page(_NOTE)


def toml(config: object) -> str:
    """Return a configuration as TOML, secrets masked."""
    lines: list[str] = []
    table = ""
    for leaf in leaves(config):
        parent, _, key = leaf.path.rpartition(".")
        if parent != table:
            table = parent
            lines += ["", f"[{table}]"]
        # A secret stands in the environment, so that what is shown can be a file again.
        absent = "# " if leaf.value in (None, MASK) else ""
        lines.append(f"{absent}{key} = {render_leaf(leaf.value, leaf.type_name)}")
    return "\n".join(lines).lstrip("\n") + "\n"


# File name -> what renders it.
PAGES: dict[str, Callable[[], str]] = {
    "flows.md": partial(table_page, FLOWS),
    "nat_events.md": partial(table_page, NAT_EVENTS),
    "exporter_health.md": partial(table_page, EXPORTER_HEALTH),
    "configuration.md": configuration_page,
    "commands.md": commands_page,
    "filters.md": filters_page,
    "dimensions.md": dimensions_page,
}


def _element(number: int) -> str:
    found = lookup(0, number)
    return f"{number} {found.name}" if found else str(number)


def _default(leaf: Leaf) -> str:
    return "none" if leaf.default is None else render_leaf(leaf.default, leaf.type_name)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_NOTE = f"This page is generated from the code by `{REFRESH}`; edit the declarations, not the page."

_READING = """\
## How to read it

- Addresses print as text, IPv4 as IPv4. An address that the record did not have prints as null.
- A number that the record did not have is 0.
- Times print as ISO 8601, UTC, with milliseconds.
- Columns filled by attribution or loading are 0 or null until those steps exist."""

_CONFIGURATION = f"""\
One TOML file holds everything: the one named by `--config`, else by `{ENVIRONMENT_PREFIX}CONFIG`,
else `flowledger.toml` in the current folder; without any, the defaults below hold.

Any key can be overridden by an environment variable: the dotted path in capitals, `__` for a dot,
after `{ENVIRONMENT_PREFIX}`. So `collector.listen` is `{ENVIRONMENT_PREFIX}COLLECTOR__LISTEN`.
A list is written `a,b` or `["a", "b"]`. Durations are seconds or text such as `"250ms"`, `"30s"`,
`"5m"`, `"2h"`, `"30d"`; sizes are octets or text such as `"64KiB"`, `"256MiB"`, `"10GiB"`.

`flowledger config check` reports all mistakes at once; `flowledger config show` prints what is in
force. Secrets come from the environment or from files named by `…_file`, and print as `***`."""

_COMMANDS = """\
Call them through the launcher, `./flowledger`, which makes the machine ready first.
`flowledger COMMAND --help` lists every option.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 called wrongly,
130 interrupted, 141 when the reader of a pipe has gone away."""
