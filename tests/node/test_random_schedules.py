"""Random lives of a pool, the same in each run: at the end of each everything is as people may expect.

A failure prints its seed and the whole life; `live(seed, kind)` plays it again. More of them, for hours:
`python tests/schedules.py long 20000`.
"""

import logging
from collections.abc import Iterator

import pytest
from schedules import KINDS, live

LIVES = {"plain": 60, "long": 20, "losses": 40, "disasters": 40, "alone": 40}
IN_A_BATCH = 10


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Crashes by the hundred are no news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("kind", "first"), [(kind, first) for kind in KINDS for first in range(0, LIVES[kind], IN_A_BATCH)]
)
def test_lives_end_well(kind: str, first: int) -> None:
    """All folders are alike, nothing that a person wrote is lost or back, and each loser has one copy."""
    for seed in range(first, first + IN_A_BATCH):
        live(seed, kind)
