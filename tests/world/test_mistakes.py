"""Each planted mistake is found by something that is committed: here is by what.

Those of the rules have their traces (`node/test_traces` sees to it that none is without). Those of the engine have a
test of their own, which is run here with the mistake in the engine and has to fail, or lives of the seeded world, or
both. `make mutants` lives worlds with every mistake, and shows which seed finds it and how soon.
"""

import os
import subprocess
import sys

import mistakes as of_rules
import pytest
from world.lives import TESTS, lived
from world.mistakes import MISTAKES

BY_TEST = {
    "rename_without_looking": "disk/test_commit.py::test_what_changed_before_the_look_is_not_touched",
    "not_put_back": "disk/test_commit.py::test_what_a_person_does_between_look_and_exchange_is_put_back",
    "nothing_flushed": "node/test_place.py::test_each_step_is_durable_before_the_next",
    "renames_not_flushed": "node/test_place.py::test_each_step_is_durable_before_the_next",
    "stat_is_enough": "disk/test_scan.py::test_an_edit_that_puts_size_and_time_back_is_read",
    "parts_shown": "node/test_pull.py::test_an_interrupted_pull_leaves_nothing",
    "no_snapshot": "node/test_pull.py::test_an_answer_is_of_one_instant",
    "watch_believed": "node/test_upkeep.py::test_what_the_watch_missed_is_found",
    "nothing_claimed": "node/test_claims.py::test_a_path_is_taken_once",
    "delay_forgotten": "node/test_inward.py::test_a_delay_that_ends_during_a_pass_brings_about_the_next",
    "trash_copies": "disk/test_trash.py::test_a_file_goes_in_and_comes_out",
    "nothing_trashed": "node/test_place.py::test_a_file_comes_with_its_bytes_its_time_and_its_bits",
    "intents_after": "node/test_opening.py::test_what_was_cut_off_is_ended_first",
    "always_adopting": "node/test_recovery.py::test_alone_it_adopts_at_once",
    "folders_swept": "disk/test_commit.py::test_folders_go_only_when_empty",
    "floor_not_raised": "node/test_oblivion.py::test_what_everybody_has_known_for_long_goes",
}

PLANTED = [sys.executable, "-m", "pytest", "-p", "world.plant", "-x", "-q", "--no-header", "--timeout", "120"]

BY_WORLD = {
    "context_first": "0:12",
    "late_bytes_left": "36:48",
    "folders_swept": "0:12",
}
"""Found within these short and hard lives; a few more are given than are needed today."""


@pytest.mark.parametrize("mistake", BY_TEST)
def test_its_own_test_sees_the_mistake(mistake: str) -> None:
    """The test fails with the mistake in the engine, and not because something else is wrong with it."""
    done = subprocess.run(
        [*PLANTED, BY_TEST[mistake]],
        env={**os.environ, "PYTHONPATH": str(TESTS), "MISTAKE": mistake},
        cwd=TESTS,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    assert "TypeError" not in done.stdout, "the mistake does not fit the engine any more: " + done.stdout
    assert "Failed: Timeout" not in done.stdout, "nothing found it, it only hung: " + done.stdout


@pytest.mark.world
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mistake", BY_WORLD)
def test_the_world_sees_the_mistake(mistake: str) -> None:
    """Lives that are sound without it break a promise with it."""
    done = lived("--seeds", BY_WORLD[mistake], "--hard", "--stop", "--mistake", mistake)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED" in done.stdout, done.stdout + done.stderr


def test_no_mistake_goes_unseen() -> None:
    """Every mistake in the list has a trace, a test, or lives that find it."""
    traced = {plant.__name__ for plant in of_rules.ALL}
    assert MISTAKES.keys() - traced <= BY_TEST.keys() | BY_WORLD.keys()
    assert BY_TEST.keys() | BY_WORLD.keys() <= MISTAKES.keys()
