"""The seeded world in small: some seeds of every weather, the same seed twice, and mistakes that must be found.

Each part runs in a process of its own, because the order of sets is fixed for a process at its start, and a seed means
the same life only where that order is the same. `make soak` runs new seeds for as long as one likes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from world.patches import fast_folder, fine_times

TESTS = Path(__file__).resolve().parent.parent
SEEDS_A_PART = int(os.environ.get("WORLD_SEEDS", "5"))
FIRST = int(os.environ.get("WORLD_FIRST", "0"))
PARTS = 4

# Minutes of work on two cores: asked for by name, until their time and their verdict are known on a quiet machine.
pytestmark = [
    pytest.mark.world,
    pytest.mark.skipif("WORLD_SEEDS" not in os.environ, reason="set WORLD_SEEDS (5, say) to live seeded worlds"),
]


def lived(*options: str) -> subprocess.CompletedProcess[str]:
    """What `python -m world` says."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0"}
    environment.pop("MEERKAT_DIR", None)
    return subprocess.run(
        [sys.executable, "-m", "world", *options],
        env=environment,
        cwd=TESTS,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


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
