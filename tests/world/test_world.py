"""The seeded world in small: some seeds of every weather, short and hard lives, and the same seed twice.

About two minutes of one core, together with the lives of `test_mistakes`. WORLD_SEEDS=50 lives so many in each part;
`make soak` runs new seeds for as long as one likes.
"""

import os

import pytest
from world.lives import lived
from world.patches import fast_folder, fine_times

SEEDS_A_PART = int(os.environ.get("WORLD_SEEDS", "2"))
FIRST = int(os.environ.get("WORLD_FIRST", "0"))
PARTS = 4

pytestmark = pytest.mark.world


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_promise_is_broken(part: int) -> None:
    """Whatever people, links, disks and deaths do: equal trees, nothing lost, nothing back, no gap, then silence."""
    first = FIRST + part * SEEDS_A_PART
    done = lived("--seeds", f"{first}:{first + SEEDS_A_PART}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_short_and_hard_lives_break_no_promise() -> None:
    """The lives in which mistakes are looked for are sound without one."""
    done = lived("--seeds", f"{FIRST}:{FIRST + SEEDS_A_PART}", "--hard")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
@pytest.mark.skipif(not fine_times(fast_folder()), reason="this kernel's file times are too coarse to tell changes")
def test_the_same_seed_is_the_same_life() -> None:
    """Every line of the story is the same again, so that a failure can be looked at as often as one likes."""
    one, other = (lived("--seeds", "3", "--hard", "--digests") for _ in range(2))
    assert one.stdout.splitlines()[:-1] == other.stdout.splitlines()[:-1]
    assert len(one.stdout.splitlines()[0]) > 60
