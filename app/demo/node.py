"""The demo's store, pipeline and web: `flowledger serve` beside it, on the demo's data folder."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.errors import FlowledgerError
from core.run_files import read_run_file

GATEWAY = 8123
WEB = 8080
STOP_S = 30.0
_QUESTION = "SELECT direction, sum(octets) FROM rollup_5m GROUP BY 1 FORMAT PrettyCompact"


@dataclass(slots=True)
class DemoNode:
    """What runs, and what it says."""

    data: Path
    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]
    gateway: str = ""
    web: str = ""

    def look(self) -> bool:
        """Read where it answers, once it says so; tell whether it does."""
        if not self.gateway:
            self.out.seek(0)
            line = self.out.readline()
            if line.endswith(b"\n"):
                said = json.loads(line)
                self.gateway, self.web = str(said["gateway"]), str(said["web"])
        return bool(self.gateway)

    def stored(self) -> int:
        """Return how many flows the pipeline has loaded."""
        return int(read_run_file(self.data, "pipeline").get("flows_loaded", 0))

    def last_words(self) -> str:
        """Say why it has ended; nothing while it runs."""
        if self.process.poll() is None:
            return ""
        self.err.seek(0)
        lines = [line for line in self.err.read().decode("utf-8", "replace").split("\n") if line]
        why = lines[-1] if lines else f"exit status {self.process.returncode}"
        return f"the store has stopped: {why}"

    def questions(self) -> tuple[str, ...]:
        """Return where to ask, and three questions to begin with."""
        flows = f"./flowledger flows {{}} --data {self.data}"
        return (
            f"The store answers at {self.gateway}, health is at {self.web}/readyz. Ask it:",
            f"  {flows.format('top')} --by local_addr --last 1h",
            f"  {flows.format('list')} --limit 20 'dst port 443 and bytes > 1M'",
            f"  curl -s '{self.gateway}/?database=flowledger' -d '{_QUESTION}'",
        )


@contextmanager
def running(data: Path) -> Iterator[DemoNode]:
    """Run it on the usual ports, or on free ones where those are taken; end it on leaving."""
    command = [sys.executable, "-P", "-m", "app", "serve", "--data", str(data)]
    command += ["--role", "store", "--role", "pipeline", "--role", "web", "--log-format", "json"]
    command += ["--gateway", _usual_or_free(GATEWAY), "--web", _usual_or_free(WEB)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # A session of its own: Ctrl-C is for the demo, which ends its parts in order.
        process = subprocess.Popen(
            command, stdout=out, stderr=err, env=environment, start_new_session=True
        )
        try:
            yield DemoNode(data, process, out, err)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired as error:
                process.kill()
                process.wait()
                raise FlowledgerError("the demo's store had to be killed") from error


def _usual_or_free(port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return "127.0.0.1:0"
    return f"127.0.0.1:{port}"
