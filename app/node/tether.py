"""Becomes another program that is told to end when the process that started it dies.

    python -I -S tether.py PARENT PROGRAM ARGUMENTS

A killed supervisor leaves no store or pipeline behind that would stand in the way of the next one.
Linux sends the signal; elsewhere the program is started untied. This file is run by itself, so it
imports only what a bare interpreter has.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>; it is kept when another program is executed.


def main() -> None:
    """Tie this process to its parent, and become the program."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # It died before it could be tied to.
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - The supervisor wrote the arguments.


if __name__ == "__main__":
    main()
