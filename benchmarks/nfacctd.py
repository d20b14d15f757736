"""pmacct's nfacctd as the peer of the store: an aggregate by 5-tuple in memory, printed at its end.

It keeps one line for each 5-tuple, we keep every flow with all its columns; it is what people run
on one machine when they want sums and no database.
"""

import csv
import shutil
import signal
import subprocess
import time
from pathlib import Path

from benchmarks import collectors
from benchmarks.collectors import RECEIVE_BUFFER, START_S, STOP_S, Outcome, drain, end, usage

# Sizes as its documentation advises for high rates; with its defaults it loses far earlier.
_CONFIG = """\
daemonize: false
nfacctd_ip: 127.0.0.1
nfacctd_port: {port}
nfacctd_pipe_size: {buffer}
nfacctd_disable_checks: true
plugins: print[mem]
aggregate[mem]: src_host, dst_host, src_port, dst_port, proto, flows
plugin_pipe_size[mem]: 268435456
plugin_buffer_size[mem]: 262144
print_cache_entries[mem]: 1048573
print_refresh_time[mem]: 86400
print_output[mem]: csv
print_output_file[mem]: {out}
logfile: {log}
"""
SETTLE_S = 3.0  # What its core has handed over is still under way to its plugin.


def is_here() -> bool:
    """Say whether the peer is installed."""
    return shutil.which("nfacctd") is not None


class Nfacctd(collectors.Ending):
    """nfacctd with the print plugin; it counts the flows that reached its aggregate."""

    counts = "flows"

    def __init__(self, folder: Path) -> None:
        self.port = collectors.free_port()
        self._out, self._log = folder / "nfacctd.csv", folder / "nfacctd.log"
        config = folder / "nfacctd.conf"
        config.write_text(
            _CONFIG.format(port=self.port, buffer=RECEIVE_BUFFER, out=self._out, log=self._log)
        )
        self._process = subprocess.Popen(
            ("nfacctd", "-f", str(config)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S
        while collectors.queue(self.port) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                end(self._process)
                raise RuntimeError(f"nfacctd did not start: {self._log.read_text()}")
            time.sleep(0.02)
        time.sleep(1.0)  # Its plugin takes a little longer than its socket.

    def stop(self) -> Outcome:
        drained_at, dropped = drain(self.port)
        time.sleep(SETTLE_S)
        used = usage(self._process.pid)
        self._process.send_signal(signal.SIGINT)
        self._process.wait(STOP_S)
        # The plugin prints in a process of its own, which may outlive the core.
        deadline = time.monotonic() + STOP_S
        while not self._log.read_text().count("Purging cache - END"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"nfacctd printed nothing: {self._log.read_text()[-500:]}")
            time.sleep(0.1)
        kept = 0
        if self._out.exists():  # It writes none where it has nothing.
            with self._out.open(newline="") as file:
                kept = sum(int(row["FLOWS"]) for row in csv.DictReader(file))
        return Outcome(kept, dropped, drained_at, used)
