"""``python -m storage.clickhouse.engine``: the store process itself."""

import argparse
import json
import sys
from pathlib import Path

from core.errors import FlowledgerError


def main() -> int:
    """Serve; a failure is one line on stderr."""
    parser = argparse.ArgumentParser(prog="flowledger store")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--tethered", action="store_true", help="end when stdin does")
    args = parser.parse_args()
    from storage.clickhouse.engine.config import Config
    from storage.clickhouse.engine.serving import serve

    try:
        serve(args.data, Config(**args.settings), is_tethered=args.tethered)
    except FlowledgerError as error:
        sys.stderr.write("\n".join(error.lines()) + "\n")
        return error.exit_status
    return 0


sys.exit(main())
