"""The version that loses a conflict gets a file of its own: once, the same on every node, before anything else."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from node_rooms import LONG_AGO_NS, Rooms, file_version, node_id, path

from meerkat.core.plan import KeepLoser, Settled
from meerkat.core.resolve import copy_path
from meerkat.model.limits import SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import MARKER
from meerkat.model.problem import Reason
from meerkat.model.version import Content, Kind, Version
from meerkat.node import ledger

LOSER, WINNER = b"what ada wrote", b"what bob wrote"
LOSING, WINNING = file_version(LOSER), file_version(WINNER, height=9)
COPY = copy_path(path("a.txt"), LOSING.content)


def run(folder: Path, scene: Callable[[Rooms], Coroutine[object, object, None]]) -> None:
    """Play a scene in the rooms of a folder."""

    async def play() -> None:
        async with Rooms(folder / "ada") as ada:
            await scene(ada)

    asyncio.run(play())


async def in_conflict(ada: Rooms) -> ledger.Job:
    """Ada's disk shows a version that loses against bob's."""
    ada.put("a.txt", LOSER)
    await ada.scan()
    await ada.told("a.txt", WINNING, unseen=True)
    job = await ada.job("a.txt")
    assert isinstance(job.step, KeepLoser)
    assert job.step.holder
    assert job.step.copy == COPY
    return job


async def contents(ada: Rooms, name: str) -> set[bytes]:
    return {version.content.ident for version in await ada.living(name)}


def test_the_loser_gets_a_file_of_its_own(tmp_path: Path) -> None:
    """Its bytes stand beside the path, the index has them as a copy of ada's version, and the winner is alone."""

    async def scene(ada: Rooms) -> None:
        job = await in_conflict(ada)
        (outcome,) = await ada.losers.keep([job])
        assert (outcome.problem, outcome.later) == (None, False)
        assert ada.tree() == {"a.txt": LOSER, COPY: LOSER}, "the winner comes to the path in a step of its own"
        (copy,) = await ada.living(COPY)
        assert (copy.content, copy.weak, copy.origin) == (LOSING.content, True, ada.node)
        assert await contents(ada, "a.txt") == {WINNING.digest}
        assert await ada.pending() == ["a.txt"]
        assert ada.stage.names() == []

    run(tmp_path, scene)


def test_the_copy_is_made_once(tmp_path: Path) -> None:
    """The same decision carried out again, on this or an older picture of things, changes nothing."""

    async def scene(ada: Rooms) -> None:
        job = await in_conflict(ada)
        await ada.losers.keep([job])
        before = dict(ada.books.context)
        await ada.losers.keep([job])
        assert ada.books.context == before
        assert ada.tree() == {"a.txt": LOSER, COPY: LOSER}

    run(tmp_path, scene)


def test_every_node_makes_the_same_copy(tmp_path: Path) -> None:
    """Two nodes that hold the loser both act; afterwards there is one copy, and both folders agree."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "cy", "cy") as cy:
            ada.put("a.txt", LOSER)
            await ada.scan()
            cy.put("a.txt", LOSER)
            await cy.learn(ada)
            await cy.scan()
            for each in (ada, cy):
                await each.told("a.txt", WINNING, unseen=True)
                await each.losers.keep([await each.job("a.txt")])
            for one, other in ((ada, cy), (cy, ada), (ada, cy)):
                await one.learn(other)
            for each in (ada, cy):
                assert each.tree() == {"a.txt": LOSER, COPY: LOSER}
                assert await contents(each, COPY) == {LOSING.digest}
                assert await contents(each, "a.txt") == {WINNING.digest}
                todo = [job.path for job in await each.jobs() if not isinstance(job.step, Settled)]
                assert todo == ["a.txt"], "the winner, and nothing about the copy"

    asyncio.run(play())


def test_it_waits_while_something_unknown_has_the_copys_name(tmp_path: Path) -> None:
    """Nobody has looked at what stands there: it is looked at first, and not touched."""

    async def scene(ada: Rooms) -> None:
        job = await in_conflict(ada)
        ada.put(COPY, b"put there by hand")
        (outcome,) = await ada.losers.keep([job])
        assert outcome.later
        assert ada.again == [COPY]
        assert ada.read(COPY) == b"put there by hand"
        assert await contents(ada, "a.txt") == {LOSING.digest, WINNING.digest}, "the loser's dots stay"

    run(tmp_path, scene)


def test_a_name_that_other_content_has_taken_is_left_to_it(tmp_path: Path) -> None:
    """The copy goes to a further name, again the same on every node."""

    async def scene(ada: Rooms) -> None:
        ada.put(COPY, b"put there by hand")
        job = await in_conflict(ada)
        (outcome,) = await ada.losers.keep([job])
        assert (outcome.problem, outcome.later) == (None, False)
        further = copy_path(COPY, LOSING.content)
        assert ada.tree() == {"a.txt": LOSER, COPY: b"put there by hand", further: LOSER}
        assert await contents(ada, "a.txt") == {WINNING.digest}

    run(tmp_path, scene)


def test_a_copy_that_a_person_has_just_changed_is_not_counted_on(tmp_path: Path) -> None:
    """The index says that the copy has the loser's bytes, the disk says otherwise: the loser is not given up."""

    async def scene(ada: Rooms) -> None:
        ada.put(COPY, LOSER)
        job = await in_conflict(ada)
        ada.put(COPY, b"edited just now")
        (outcome,) = await ada.losers.keep([job])
        assert outcome.later
        assert COPY in ada.again
        assert LOSING.digest in await contents(ada, "a.txt")

    run(tmp_path, scene)


def test_it_waits_while_somebody_works_on_the_copys_name(tmp_path: Path) -> None:
    """The name is claimed by the other half of the engine: nothing happens now."""

    async def scene(ada: Rooms) -> None:
        job = await in_conflict(ada)
        ada.claims.take([COPY])
        (outcome,) = await ada.losers.keep([job])
        assert outcome.later
        assert ada.tree() == {"a.txt": LOSER}

    run(tmp_path, scene)


def test_a_crash_after_the_copy_stands_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is there, its recording was lost: a scan finds it, and the conflict ends without a second copy."""

    class PowerCut(Exception):
        pass

    def crash(*_: object) -> bool:
        raise PowerCut

    async def scene(ada: Rooms) -> None:
        job = await in_conflict(ada)
        with monkeypatch.context() as patched:
            patched.setattr(ledger, "keep_loser", crash)
            with pytest.raises(PowerCut):
                await ada.losers.keep([job])
        assert ada.read(COPY) == LOSER
        assert await contents(ada, "a.txt") == {LOSING.digest, WINNING.digest}
        await ada.scan()
        await ada.losers.keep([await ada.job("a.txt")])
        assert ada.tree() == {"a.txt": LOSER, COPY: LOSER}
        assert await contents(ada, COPY) == {LOSING.digest}
        assert await contents(ada, "a.txt") == {WINNING.digest}
        assert COPY not in ada.claims

    run(tmp_path, scene)


def test_a_copy_that_arrived_before_is_not_written_again(tmp_path: Path) -> None:
    """Another holder was faster and its copy is known: only the loser's dots go, the copy comes like any file."""

    async def scene(ada: Rooms) -> None:
        job = await in_conflict(ada)
        await ada.told(COPY, LOSING, unseen=True)
        await ada.losers.keep([job])
        assert ada.tree() == {"a.txt": LOSER}
        assert await contents(ada, "a.txt") == {WINNING.digest}
        assert set(await ada.pending()) == {"a.txt", COPY}

    run(tmp_path, scene)


def test_a_loser_that_is_elsewhere_is_fetched(tmp_path: Path) -> None:
    """A node whose disk shows the winner steps in with bytes from whoever has them; without a source it waits."""

    async def play() -> None:
        async with Rooms(tmp_path / "ada") as ada, Rooms(tmp_path / "bob", "bob") as bob:
            ada.put("a.txt", WINNER)
            await ada.scan()
            await ada.told("a.txt", file_version(WINNER, height=9))
            bob.put("a.txt", LOSER)
            await bob.scan()
            await ada.learn(bob)
            await ada.placer.retouch([job for job in await ada.jobs() if not isinstance(job.step, KeepLoser)])
            job = await ada.job("a.txt")
            assert isinstance(job.step, KeepLoser)
            assert not job.step.holder
            (outcome,) = await ada.losers.keep([job])
            assert outcome.problem is not None
            assert (outcome.problem.path, outcome.problem.reason) == ("a.txt", Reason.NO_SOURCE_ONLINE)
            ada.carry(bob)
            (outcome,) = await ada.losers.keep([job])
            assert (outcome.problem, outcome.later) == (None, False)
            assert ada.tree() == {"a.txt": WINNER, COPY: LOSER}
            (copy,) = await ada.living(COPY)
            assert copy.origin == node_id("bob")

    asyncio.run(play())


def test_a_large_loser_is_copied_on_this_disk(tmp_path: Path) -> None:
    """No member is asked for what is here already."""
    large = os.urandom(SINGLE_CHUNK_BYTES_MAX + 50_000)

    async def scene(ada: Rooms) -> None:
        ada.put("big.iso", large)
        await ada.scan()
        await ada.told("big.iso", WINNING, unseen=True)
        job = await ada.job("big.iso")
        assert isinstance(job.step, KeepLoser)
        (outcome,) = await ada.losers.keep([job])
        assert (outcome.problem, outcome.later) == (None, False)
        assert ada.tree() == {"big.iso": large, job.step.copy: large}

    run(tmp_path, scene)


def test_a_link_that_loses_is_kept_as_a_link(tmp_path: Path) -> None:
    """The copy of a symbolic link points where the link did."""

    async def scene(ada: Rooms) -> None:
        (ada.folder / "l").symlink_to("nowhere")
        os.utime(ada.folder / "l", ns=(LONG_AGO_NS, LONG_AGO_NS), follow_symlinks=False)
        await ada.scan()
        await ada.told("l", Version(Kind.SYMLINK, target="elsewhere", height=9), unseen=True)
        job = await ada.job("l")
        await ada.losers.keep([job])
        copy = copy_path(path("l"), Content(Kind.SYMLINK, b"nowhere"))
        assert os.readlink(ada.folder / copy) == "nowhere"

    run(tmp_path, scene)


def test_bytes_that_cannot_be_put_down_keep_their_dots(tmp_path: Path) -> None:
    """The stage is in trouble: the loser is not given up, the path waits with a reason."""

    async def scene(ada: Rooms) -> None:
        job = await in_conflict(ada)
        os.rename(ada.folder / MARKER / "stage", ada.folder / MARKER / "elsewhere")
        os.rmdir(ada.folder / MARKER / "elsewhere")
        (outcome,) = await ada.losers.keep([job])
        assert outcome.problem is not None
        assert outcome.problem.path == "a.txt"
        assert await contents(ada, "a.txt") == {LOSING.digest, WINNING.digest}
        assert ada.tree() == {"a.txt": LOSER}

    run(tmp_path, scene)
