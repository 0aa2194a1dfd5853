"""What one test of this room must not leave behind for the next."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A node that ran keeps Meerkat's log off the terminal; whoever looks for records in the next test needs it."""
    logger = logging.getLogger("meerkat")
    level, propagate = logger.level, logger.propagate
    yield
    logger.setLevel(level)
    logger.propagate = propagate
