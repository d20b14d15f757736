"""The decoder's tests run with the compiled loop, which else is loaded after millions of flows."""

import pytest

from collector.compiled import loading


@pytest.fixture(autouse=True)
def _compiled() -> None:
    """Load it, or give it back what a test has unloaded."""
    assert loading.load()
