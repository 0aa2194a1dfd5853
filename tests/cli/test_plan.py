"""The question before a folder's files are mixed with a pool's."""

import asyncio
import os
import pty
import sys
from collections.abc import Iterator

import pytest

from meerkat.cli.plan import ask_yes, holds_files, needs_merge, plan_lines
from meerkat.model.fault import Exit

PLAN = {"identical": 310, "download": 892, "download_bytes": 2_900_000_000, "only_here": 12, "differ": 2, "delete": 0}


def test_the_plan_names_every_count_and_that_nothing_is_deleted() -> None:
    """A person sees what comes, what goes, what differs, and that deletions are none."""
    text = "\n".join(plan_lines("/data", PLAN))
    assert "892 files  to come from the pool (2.9 GB)" in text
    assert "12 files" in text
    assert "2 files  different; both versions are kept" in text
    assert "0 files  to be deleted" in text


def test_an_empty_folder_needs_no_question() -> None:
    """Files that only come from the pool mix with nothing."""
    assert not holds_files({"identical": 0, "download": 9, "only_here": 0, "differ": 0})
    assert holds_files(PLAN)


def test_the_refusal_counts_the_files_and_says_what_to_add() -> None:
    """Without a person the join is refused for safety, with the two ways on."""
    fault = needs_merge("/data", PLAN)
    assert (fault.code, fault.exit_code) == ("needs_merge", Exit.REFUSED)
    assert "324 files" in fault.message
    assert "--merge" in fault.hint


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A real terminal as standard input; what is written to the yielded descriptor is typed there."""
    person, program = pty.openpty()
    with os.fdopen(program) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield person
    os.close(person)


@pytest.mark.parametrize(
    ("typed", "answer"), [(b"y\n", True), (b"YES\n", True), (b"\n", False), (b"n\n", False), (b"yellow\n", False)]
)
def test_only_a_yes_is_a_yes(typed: bytes, answer: bool, terminal: int) -> None:
    """Anything but y or yes is a no, the bare Enter too."""
    os.write(terminal, typed)
    assert asyncio.run(ask_yes("Go on?", asyncio.Event())) is answer


def test_stopping_ends_the_question(terminal: int) -> None:
    """A signal while the question stands is a no, and does not wait for Enter."""

    async def interrupted() -> bool:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_soon(stop.set)
        return await ask_yes("Go on?", stop)

    assert asyncio.run(interrupted()) is False
