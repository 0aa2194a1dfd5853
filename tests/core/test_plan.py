"""Index minus disk: each next step, and that steps lead to where nothing is left to do."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import paths, siblings

from meerkat.core.merge import replace, supersede, tombstones
from meerkat.core.plan import KeepLoser, Place, Remove, Retouch, Settled, Step, differs, plan
from meerkat.core.resolve import IMPLIED_FOLDER, copy_path, view
from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import FOLDER, Base, Kind, Siblings, Stat, Version

A, B, C = (Author(NodeId(letter * 32), 1) for letter in "abc")
PATH = RelPath("d/f.txt")


def shown(version: Version) -> Base:
    """What a disk shows that holds just this version."""
    return Base(version.content, Stat(version.kind, version.size, version.mtime_ns, 1, 2, version.mode), version.recipe)


def file(number: int, mtime_ns: int = 7, mode: int = 0o644) -> Version:
    return Version(Kind.FILE, digest=Digest(bytes([number]) * 32), mtime_ns=mtime_ns, mode=mode)


LOW, HIGH = file(1), file(200)
DIR = Version(Kind.FOLDER, mode=0o755)
LINK = Version(Kind.SYMLINK, target="elsewhere", mtime_ns=3)
GONE = Version(Kind.TOMBSTONE)
IMPLIED = IMPLIED_FOLDER.version


@pytest.mark.parametrize(
    ("siblings", "base", "below", "step"),
    [
        ({}, None, False, Settled()),
        ({Dot(A, 1): GONE}, None, False, Settled()),
        ({Dot(A, 1): LOW}, None, False, Place(LOW, frozenset({Dot(A, 1)}))),
        ({Dot(A, 1): LOW, Dot(B, 1): LOW}, None, False, Place(LOW, frozenset({Dot(A, 1), Dot(B, 1)}))),
        ({Dot(A, 1): LOW}, shown(LOW), False, Settled()),
        ({Dot(A, 1): LOW}, shown(HIGH), False, Place(LOW, frozenset({Dot(A, 1)}))),
        ({Dot(A, 1): LOW}, shown(DIR), False, Place(LOW, frozenset({Dot(A, 1)}))),
        ({Dot(A, 1): GONE}, shown(LOW), False, Remove()),
        ({}, shown(LOW), False, Remove()),
        ({Dot(A, 1): GONE}, shown(DIR), False, Remove()),
        ({Dot(A, 1): LOW}, shown(file(1, mtime_ns=8)), False, Retouch(LOW)),
        ({Dot(A, 1): LOW}, shown(file(1, mode=0o755)), False, Retouch(LOW)),
        ({Dot(A, 1): LINK}, shown(msgspec.structs.replace(LINK, mtime_ns=9)), False, Settled()),
        ({Dot(A, 1): DIR}, shown(msgspec.structs.replace(DIR, mtime_ns=9)), False, Settled()),
        ({Dot(A, 1): GONE}, None, True, Place(IMPLIED, frozenset())),
        ({}, None, True, Place(IMPLIED, frozenset())),
        ({Dot(A, 1): GONE}, shown(IMPLIED), True, Settled()),
        ({Dot(A, 1): GONE}, shown(msgspec.structs.replace(DIR, mode=0o700)), True, Retouch(IMPLIED)),
        ({Dot(A, 1): GONE}, shown(LOW), True, Place(IMPLIED, frozenset())),
    ],
    ids=[
        "nothing",
        "deleted",
        "new",
        "new, from two",
        "as it should be",
        "overtaken",
        "a folder gives way",
        "deleted elsewhere",
        "deleted and forgotten",
        "a folder deleted elsewhere",
        "another time",
        "other bits",
        "a link's time does not travel",
        "nor does a folder's",
        "implied",
        "implied, never written",
        "implied and there",
        "implied folders have the same bits",
        "implied where a file was",
    ],
)
def test_plan(siblings: Siblings, base: Base | None, below: bool, step: Step) -> None:
    """The step that leads from what this node put there to what the pool shows."""
    assert plan(PATH, siblings, base, below) == step


CONFLICT = {Dot(A, 1): LOW, Dot(B, 1): HIGH}


@pytest.mark.parametrize(
    ("base", "kind", "holder"),
    [
        (shown(LOW), KeepLoser, True),
        (None, Place, None),
        (shown(file(9)), Place, None),
        (shown(file(200, mtime_ns=9)), Retouch, None),
        (shown(HIGH), KeepLoser, False),
    ],
    ids=["who shows the loser acts first", "new", "overtaken", "the winner's times first", "others step in last"],
)
def test_a_loser_is_kept(base: Base | None, kind: type[Step], holder: bool | None) -> None:
    """On the loser's disk nothing else comes before its copy; elsewhere everything does."""
    step = plan(PATH, CONFLICT, base, False)
    assert type(step) is kind
    if isinstance(step, KeepLoser):
        assert (step.holder, step.loser.content) == (holder, LOW.content)
        assert step.copy == copy_path(PATH, LOW.content)


def test_the_loser_on_this_disk_comes_first() -> None:
    """Of several losers, the one that this disk shows; then the best."""
    siblings = {**CONFLICT, Dot(C, 1): file(100)}
    mine = plan(PATH, siblings, shown(LOW), False)
    other = plan(PATH, siblings, shown(HIGH), False)
    assert isinstance(mine, KeepLoser)
    assert isinstance(other, KeepLoser)
    assert mine.loser.content == LOW.content
    assert other.loser.content == file(100).content


def test_a_file_under_a_folder_is_kept() -> None:
    """Where something living below makes a folder of the path, the file that stands there has its copy first."""
    step = plan(PATH, {Dot(A, 1): LOW}, shown(LOW), True)
    assert isinstance(step, KeepLoser)
    assert step.holder


@pytest.mark.parametrize(
    ("base", "version", "different"),
    [
        (shown(LOW), LOW, False),
        (shown(LOW), file(1, mtime_ns=8), True),
        (shown(LOW), file(1, mode=0o600), True),
        (shown(LINK), msgspec.structs.replace(LINK, mtime_ns=99), False),
        (shown(DIR), msgspec.structs.replace(DIR, mode=0o700), True),
        (shown(DIR), msgspec.structs.replace(DIR, mtime_ns=99), False),
    ],
)
def test_differs(base: Base, version: Version, different: bool) -> None:
    """Bits, and a file's time; a link has neither, a folder no time."""
    assert differs(base, version) is different


def applied(path: RelPath, siblings: Siblings, base: Base | None, step: Step) -> tuple[Siblings, Base | None]:
    """What is known and shown after the step."""
    match step:
        case Place(version) | Retouch(version):
            return siblings, shown(version)
        case Remove():
            return siblings, None
        case KeepLoser(loser):
            gone = loser.dots | tombstones(siblings)
            dot = Dot(C, 2**50 + len(gone) + max((dot.seq for dot in siblings if dot.author == C), default=0))
            return replace(siblings, gone, dot, supersede(siblings, gone, GONE)), base
        case Settled():
            return siblings, base


@given(paths, siblings, st.none() | siblings.map(lambda them: next(iter(them.values()))), st.booleans())
def test_steps_come_to_an_end(path: RelPath, them: Siblings, there: Version | None, below: bool) -> None:
    """Doing what is planned leads to where nothing is planned: the disk shows the winner, and no loser is left."""
    base = None if there is None or not there.living else shown(there)
    for _ in range(2 * len(them) + 3):
        step = plan(path, them, base, below)
        if isinstance(step, Settled):
            break
        if isinstance(step, Place | Remove) and base is not None:
            losing = {item.content for item in view(them, below).losers}
            assert base.content not in losing, "a loser was replaced before it had its copy"
        them, base = applied(path, them, base, step)
    outlook = view(them, below)
    assert isinstance(plan(path, them, base, below), Settled)
    assert outlook.losers == ()
    assert (base and base.content) == (outlook.winner and outlook.winner.content)
    assert base is None or outlook.winner is None or not differs(base, outlook.winner.version)


@given(siblings, st.booleans())
def test_a_folder_is_never_copied(them: Siblings, below: bool) -> None:
    """Whatever this disk shows, only files and links get conflict copies."""
    for base in (None, shown(DIR)):
        step = plan(PATH, them, base, below)
        assert not isinstance(step, KeepLoser) or step.loser.content != FOLDER
