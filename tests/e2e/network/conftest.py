"""A lab for each test of this room, and a pool in it; both are gone afterwards."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.network.lab import Lab, NotPermitted, ProgramMissing, ensure_possible
from e2e.network.pool import LabPool


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
    """An empty pool. After the test, no node may have ended by itself or have met a bug."""
    fresh = LabPool(tmp_path, lab)
    try:
        yield fresh
        fresh.ensure_alive()
        assert fresh.bugs() == []
    finally:
        fresh.close()
        for each in tmp_path.iterdir():
            shutil.rmtree(each, ignore_errors=True)
