"""The `flowledger` program: picks a command, imports only that, and reports failures in one line.

A command is a module of ``app.commands`` with ``add_arguments(parser)``, ``run(args) -> int`` and
``EXAMPLE``. Exit status: 0 done, 1 failed, 2 called wrongly, 130 interrupted, 141 when the reader
of a pipe has gone away.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Protocol, cast

from core.errors import FlowledgerError, UsageError

# Name -> (module, help). Listed in this order by `flowledger --help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("app.commands.demo", "receiver, decoder and simulated routers, live on the terminal"),
    "serve": ("app.commands.serve", "run a node: receiver, store, pipeline and web, looked after"),
    "store": ("app.commands.store", "run the store alone, for questions over ClickHouse's HTTP"),
    "flows": ("app.commands.flows", "ask the store: top lists, series, single flows, SQL"),
    "export": ("app.commands.export", "rows of the store as Parquet, CSV, Arrow or NDJSON, signed"),
    "backup": ("app.commands.backup", "copy a whole installation while it runs"),
    "restore": ("app.commands.restore", "put a backup back into a new data folder"),
    "collect": ("app.commands.collect", "receive datagrams and append them to a journal"),
    "decode": ("app.commands.decode", "turn captures, pcaps or a journal into flow records"),
    "follow": ("app.commands.follow", "decode a journal while it is being written"),
    "exporters": ("app.commands.exporters", "one line a router: health, loss and advice"),
    "registry": ("app.commands.registry", "list the exporters seen, and say whose they are"),
    "quarantine": ("app.commands.quarantine", "rows that the store refused: list, show, retry"),
    "replay": ("app.commands.replay", "send a capture again, at a given rate"),
    "simulate": (
        "app.commands.simulate",
        "send the traffic of an invented ISP, and write the truth",
    ),
    "config": ("app.commands.config", "check, show or explain the configuration"),
    "test": ("app.commands.test", "run all checks: format, lint, types, imports, tests"),
    "bench": ("app.commands.bench", "run the benchmarks and save their results"),
}

_EPILOG = """\
`flowledger COMMAND --help` explains a command, with an example.
Try `flowledger demo` first: it needs no router."""


_NEGATIVE = re.compile(r"-\.?\d")


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one line, with the way to the help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What argparse takes for a value though it begins with a minus: `--from -2h` is two hours
        # ago, and `--duration -5s` is refused by what reads durations, in its own words.
        self._negative_number_matcher = _NEGATIVE

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help; argparse itself would keep quiet about a full disk."""
        (file or sys.stdout).write(message)


class Command(Protocol):
    """What a module of ``app.commands`` offers.

    A module with ``PASS_THROUGH = True`` gets the options that it does not know in ``args.rest``.
    """

    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; return the exit status."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    if sys.stderr is None:  # Closed by the shell; print() would write to stdout instead.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end.
    if sys.stdout is None:
        print(f"flowledger: stdout is closed; write >{os.devnull} to see nothing", file=sys.stderr)
        return 1
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except FlowledgerError as error:
        for line in error.lines():
            print(f"flowledger: {line}", file=sys.stderr)
        status = error.exit_status
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 141
    except OSError as error:
        print(f"flowledger: {_trouble(error)}", file=sys.stderr)
        status = 1
    _let_go_of_stdout()
    return status


def _trouble(error: OSError) -> str:
    """Say in one line what the system refused."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason}"
    return f"cannot write the output: {reason}"


def _let_go_of_stdout() -> None:
    """Flush; what stdout does not take is dropped, for Python would complain of it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def load_command(name: str) -> Command:
    """Import the module of one command, and nothing else."""
    return cast("Command", import_module(COMMANDS[name][0]))


def _dispatch(argv: list[str]) -> int:
    top = _top_parser()
    if not argv:
        top.print_help()
        return 2
    if argv[0].startswith("-"):
        _exit_to_status(top, argv)
        return 0
    name = argv[0]
    if name not in COMMANDS:
        raise UsageError(f"{name!r} is not a command{_suggest(name)}; see `flowledger --help`")
    module = load_command(name)
    parser = Parser(
        prog=f"flowledger {name}",
        description=_description(name, module),
        epilog=f"example:\n{_indent(module.EXAMPLE)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    args = _exit_to_status(parser, argv[1:], pass_through=getattr(module, "PASS_THROUGH", False))
    if args is None:
        return 0
    _configure_log()
    return module.run(args)


def _configure_log() -> None:
    """Log as the environment says; a command that reads the configuration file may change it."""
    from core import log
    from core.config import environment, load

    log.configure(load(log.Config, environ=environment("log"), prefix="log."))


def _top_parser() -> Parser:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    parser = Parser(
        prog="flowledger",
        usage="flowledger [--help] [--version] COMMAND ...",
        description="NetFlow and IPFIX of an ISP's routers, turned into numbers to bill on.\n\n"
        "commands:\n" + "\n".join(lines),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    return parser


class _Version(argparse.Action):
    """Print the version; the package's metadata is read only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"flowledger {version('flowledger')}")
        parser.exit()


def _exit_to_status(
    parser: Parser, argv: list[str], *, pass_through: bool = False
) -> argparse.Namespace | None:
    """Parse; return None where argparse has already answered (help, version)."""
    try:
        if not pass_through:
            return parser.parse_args(argv)
        known: tuple[argparse.Namespace, list[str]] = parser.parse_known_args(argv)
        args, rest = known
        args.rest = rest
    except SystemExit as done:
        if done.code:
            raise UsageError(str(done.code)) from done
        return None
    return args


def _description(name: str, module: Command) -> str:
    about = COMMANDS[name][1]
    return (module.__doc__ or f"{about[0].upper()}{about[1:]}.").strip()


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def _suggest(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, COMMANDS, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


if __name__ == "__main__":
    sys.exit(main())
