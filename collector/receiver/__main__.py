"""`python -m collector.receiver DATA`: the receive process as ``adoption.start`` spawns it."""

import json
import sys
from pathlib import Path

from collector.receiver.adoption import CONFIG_FILE
from collector.receiver.process import ProcessConfig, run
from core.config import read
from core.errors import FlowledgerError
from core.log import configure


def main() -> int:
    """Run until SIGTERM; print the totals."""
    configure()
    data = Path(sys.argv[1])
    try:
        outcome = run(read(ProcessConfig, data / CONFIG_FILE), data=data)
    except FlowledgerError as error:
        sys.stderr.write("".join(f"flowledger: {line}\n" for line in error.lines()))
        return error.exit_status
    sys.stdout.write(json.dumps(outcome.report()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
