"""The second process of the pipeline benchmark: follow a journal, decode it into columns.

``python -m benchmarks.decoding DATA`` says ``ready`` when it follows, and what it decoded, as one
line of JSON, after SIGTERM and when nothing is left. It ends when its stdin does.
"""

import json
import signal
import sys
import time
from pathlib import Path

from collector.compiled import loading
from collector.config import Config
from collector.follower import Follower
from core.schema import FLOWS

IDLE_S = 0.005


def main() -> int:
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    flows = datagrams = octets = steps = gap = problems = 0
    last_at = 0.0
    assert loading.load()  # As in a process that has been at work for a while.
    with Follower(Path(sys.argv[1]), Config()) as follower:
        print("ready", flush=True)
        while True:
            is_last = bool(stopping)
            step = follower.step()
            if step is None:
                if is_last:
                    break
                time.sleep(IDLE_S)
                continue
            columns = step.decoded.flows
            # Every column is an array in memory now, until the next step.
            arrays = [columns[column.name] for column in FLOWS.columns]
            octets += int(columns["octets"].sum())
            flows += len(columns)
            datagrams += step.datagrams
            gap += int(step.decoded.health["gap"].sum())
            problems += sum(problem.count for problem in step.decoded.problems)
            steps += 1
            if len(arrays[0]):
                last_at = time.monotonic()
    told = {"flows": flows, "datagrams": datagrams, "octets": octets, "steps": steps}
    print(json.dumps(told | {"gap": gap, "problems": problems, "last_at": last_at}), flush=True)
    sys.stdin.read()  # Until then its memory and processor time can be looked at.
    return 0


if __name__ == "__main__":
    sys.exit(main())
