"""The pipeline process, from the journal to the store: ``python -m app.node.loading``."""

import argparse
import signal
import sys
from pathlib import Path

from core.errors import FlowledgerError


def main() -> int:
    """Run until SIGTERM or Ctrl-C."""
    # Before the imports, which take a while: a signal must never end us half way.
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stopping.append(number))
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    args = parser.parse_args()
    try:
        from app.config import load_config
        from pipeline.process import run

        config = load_config(args.config)
        run(
            config.pipeline,
            decoder=config.collector.decoder,
            store=config.store,
            data=args.data,
            is_stopping=lambda: bool(stopping),
        )
    except FlowledgerError as error:
        sys.stderr.write("".join(f"flowledger: {line}\n" for line in error.lines()))
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
