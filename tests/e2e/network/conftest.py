"""A lab for each test of this room, and a pool in it; both are gone afterwards."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.network.lab import Lab, NotPermitted, ProgramMissing, ensure_possible
from e2e.network.pool import LabPool
from e2e.pool import looked_over


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An empty lab. Skipped with the reason where this machine permits none; where only a program is missing, CI has
    to install it."""
    try:
        ensure_possible()
    except NotPermitted as reason:
        pytest.skip(str(reason))
    except ProgramMissing as reason:
        if os.environ.get("CI"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    fresh = Lab()
    try:
        yield fresh
    finally:
        fresh.close()


@pytest.fixture
def pool(tmp_path: Path, lab: Lab) -> Iterator[LabPool]:
    """An empty pool, looked over after the test."""
    with looked_over(LabPool(tmp_path, lab), tmp_path) as fresh:
        yield fresh
