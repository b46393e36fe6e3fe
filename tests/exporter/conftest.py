"""A clock for the exporter."""

import pytest

from tests.results import Clock


@pytest.fixture
def clock() -> Clock:
    """It stands at the instant that the tests call NOW."""
    return Clock()
