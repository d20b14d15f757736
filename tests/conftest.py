"""What holds for every test: the order, how long hypothesis may look, and an untouched log."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A shared machine is slow at times, which is no fault of the code.
settings.register_profile(
    "default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "full", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs the machine for itself after everything else."""
    items.sort(key=lambda item: item.get_closest_marker("serial") is not None)


@pytest.fixture(autouse=True)
def _log_restored() -> Iterator[None]:
    """Undo what a test, or a command that it ran, did to the log."""
    root = logging.getLogger("flowledger")
    handlers, level, propagate = list(root.handlers), root.level, root.propagate
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    root.propagate = propagate
