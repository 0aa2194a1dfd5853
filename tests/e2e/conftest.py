"""A pool for each test of this room, ended and looked over afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.pool import Pool, looked_over


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """An empty pool, looked over after the test."""
    with looked_over(Pool(tmp_path), tmp_path) as fresh:
        yield fresh
