"""Coverage-guided fuzzing of the decoder: ``decode_target.py CORPUS... -OPTION=...``.

The options are libFuzzer's (``-help=1``). New inputs are written to the first corpus folder.
"""

import sys
from importlib import import_module
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Fuzz until told to stop, or until something does not hold."""
    sys.path.insert(0, str(ROOT))
    # Compiled loops are no Python: instrumented, they could not be compiled. So they come first.
    assert import_module("collector.compiled.loading").load()
    with atheris.instrument_imports(include=["collector"]):
        from tests.fuzz.decode_check import check

    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
