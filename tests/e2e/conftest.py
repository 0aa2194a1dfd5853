"""A pool for each test of this room, ended and looked over afterwards."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.pool import Pool


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """An empty pool. After the test, no node may have ended by itself or have met a bug."""
    fresh = Pool(tmp_path)
    try:
        yield fresh
        fresh.ensure_alive()
        assert fresh.bugs() == []
    finally:
        fresh.close()
        for each in tmp_path.iterdir():
            shutil.rmtree(each, ignore_errors=True)  # hundreds of megabytes a test, kept by pytest for three runs
