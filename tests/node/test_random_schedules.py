"""Random lives of a pool, the same in each run: at the end of each everything is as people may expect.

A failure prints its seed and the whole life; `live(seed, kind)` plays it again. More of them, for hours:
`python tests/schedules.py long 20000`.
"""

import logging
from collections.abc import Iterator

import mistakes
import pytest
from replica_pool import Violation
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


@pytest.mark.parametrize(
    "plant",
    [
        mistakes.silent_twin,
        mistakes.silent_tombstone,
        mistakes.silent_loser,
        mistakes.anyone_drops,
        mistakes.replace_all,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_mistake_ends_badly(plant: mistakes.Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules that everything rests on are missed within a few lives (the rarer ones have their traces)."""
    plant(monkeypatch)

    def live_on() -> None:
        for seed in range(LIVES["plain"]):
            live(seed, "plain")

    with pytest.raises(Violation):
        live_on()
