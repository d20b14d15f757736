"""What holds for every test: the order, and how long hypothesis may look."""

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
