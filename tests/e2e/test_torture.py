"""G1, G2, G4 and G6 on real nodes: people who do everything at once, nodes killed and frozen, then the reckoning.

A short run with a fixed seed by default. By hand: TORTURE_SECONDS (all rounds together) and TORTURE_SEED.
"""

import os
import time
from pathlib import Path

import pytest
from e2e.pool import Pool
from e2e.torture import Torture, keep

pytestmark = pytest.mark.e2e

SECONDS_DEFAULT = 12.0
ROUND_S = 6.0
SEED_DEFAULT = 20261124


def test_nothing_is_lost_and_nothing_comes_back(pool: Pool, tmp_path: Path) -> None:
    """Three nodes, a busy person at each, kills and freezes: afterwards all trees are equal, every value that nobody
    overwrote is in a tree or a trash, nothing deleted is back, and the stages are empty."""
    seconds = float(os.environ.get("TORTURE_SECONDS", SECONDS_DEFAULT))
    seed = int(os.environ.get("TORTURE_SEED", SEED_DEFAULT))
    one = pool.start("one")
    for name in ("two", "three"):
        pool.join(name, one)
    pool.wait_linked()
    torture = Torture(pool, seed)
    ends = time.monotonic() + seconds
    try:
        while time.monotonic() < ends:
            torture.run(min(ROUND_S, seconds))
            print(torture.told(), "; idle nodes use", torture.idle_cpu(2.0), "of a processor")
    except BaseException:
        if where := os.environ.get("TORTURE_KEEP"):
            keep(pool, torture, Path(where))
        raise
