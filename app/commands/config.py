"""Check the configuration, show what is in force, or render the reference pages."""

import argparse
from pathlib import Path

EXAMPLE = """\
flowledger config check --config flowledger.toml
FLOWLEDGER_COLLECTOR__LISTEN=0.0.0.0:2055 flowledger config show"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="check | show | reference")
    check = verbs.add_parser("check", help="say whether it is right, all mistakes at once")
    show = verbs.add_parser("show", help="print it as TOML, environment included, secrets masked")
    for verb in (check, show):
        verb.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="the file to read (default: $FLOWLEDGER_CONFIG, else ./flowledger.toml if there)",
        )
    reference = verbs.add_parser("reference", help="write the generated pages of docs/reference")
    reference.add_argument(
        "--out", type=Path, default=Path("docs/reference"), metavar="DIR", help="where to"
    )


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    if args.verb == "reference":
        return _write_reference(args.out)
    from app.config import load_config
    from app.config_file import config_file
    from app.reference import toml

    config = load_config(args.config)
    if args.verb == "show":
        print(toml(config), end="")
    else:
        source = config_file(args.config)
        print(f"{source} is right" if source else "there is no file; the defaults are right")
    return 0


def _write_reference(folder: Path) -> int:
    from app.reference import PAGES

    folder.mkdir(parents=True, exist_ok=True)
    for name, render in PAGES.items():
        (folder / name).write_text(render(), encoding="utf-8")
        print(folder / name)
    return 0
