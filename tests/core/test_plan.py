"""The next step at a path: what stands there is taken away only after a loser among it is safe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import siblings as sibling_sets

from meerkat.core.merge import dots_of, replace, supersede, tombstones
from meerkat.core.plan import KeepLoser, Place, Remove, Retouch, Settled, Step, differs, plan
from meerkat.core.resolve import copy_path
from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import FOLDER, Base, Content, Kind, Siblings, Stat, Version

A, B = (Author(NodeId(letter * 32), 1) for letter in "ab")
PATH = RelPath("d/f")


def file(number: int, height: int = 1, mode: int = 0o644) -> Version:
    return Version(Kind.FILE, mtime_ns=7, mode=mode, digest=Digest(bytes([number]) * 32), height=height)


def shown(version: Version) -> Base:
    """A disk that shows this version as it is."""
    mode = 0 if version.kind is Kind.SYMLINK else version.mode
    return Base(version.content, Stat(version.kind, version.size, version.mtime_ns, 1, 1, mode))


WON, LOST = file(1, 2), file(2, 1)
CONFLICT = {Dot(A, 1): WON, Dot(B, 1): LOST}


@pytest.mark.parametrize(
    ("siblings", "base", "below", "step"),
    [
        ({}, None, False, Settled),
        ({Dot(A, 1): WON}, None, False, Place),
        ({Dot(A, 1): WON}, shown(WON), False, Settled),
        ({Dot(A, 1): WON}, shown(file(9)), False, Place),
        ({Dot(A, 1): WON}, shown(file(1, mode=0o600)), False, Retouch),
        ({Dot(A, 1): Version(Kind.TOMBSTONE)}, shown(WON), False, Remove),
        ({}, shown(WON), False, Remove),
        ({}, Base(FOLDER, Stat(Kind.FOLDER, 0, 0, 0, 1, 0o755)), True, Settled),
        ({}, Base(FOLDER, Stat(Kind.FOLDER, 0, 0, 0, 1, 0o700)), True, Retouch),  # the same bits everywhere
        ({}, None, True, Place),
        (CONFLICT, shown(LOST), False, KeepLoser),
        (CONFLICT, shown(WON), False, KeepLoser),
        (CONFLICT, None, False, Place),
        ({Dot(A, 1): Version(Kind.FOLDER), Dot(B, 1): LOST}, shown(LOST), False, KeepLoser),
    ],
)
def test_the_step_for_a_state(siblings: Siblings, base: Base | None, below: bool, step: type[Step]) -> None:
    """One state, one step."""
    assert isinstance(plan(PATH, siblings, base, below), step)


def test_who_shows_the_loser_acts_first() -> None:
    """The holder is told so; whoever shows the winner already only steps in."""
    holder = plan(PATH, CONFLICT, shown(LOST), False)
    other = plan(PATH, CONFLICT, shown(WON), False)
    assert isinstance(holder, KeepLoser)
    assert isinstance(other, KeepLoser)
    assert (holder.holder, other.holder) == (True, False)
    assert holder.copy == other.copy == copy_path(PATH, LOST.content)


def test_links_are_not_retouched() -> None:
    """Their metadata does not travel."""
    link = Version(Kind.SYMLINK, mtime_ns=7, target="x")
    assert not differs(Base(link.content, Stat(Kind.SYMLINK, 0, 9, 1, 1, 0)), link)


@given(sibling_sets, st.booleans(), st.none() | st.integers(0, 3))
def test_the_plan_comes_to_rest(siblings: Siblings, below: bool, at: int | None) -> None:
    """Carrying out step after step ends at Settled, with no loser left and the winner shown."""
    living = [version for version in siblings.values() if version.living]
    base = shown(living[at % len(living)]) if living and at is not None else None
    if base is not None and base.content == FOLDER and not below:
        below = False
    state, number = dict(siblings), 0
    for _ in range(2 * len(siblings) + 4):
        match plan(PATH, state, base, below):
            case Settled():
                break
            case Place(version) | Retouch(version):
                base = shown(version)
            case Remove():
                base = None
            case KeepLoser(loser):
                number += 1
                gone = dots_of(state, loser.content) | tombstones(state)
                dot = Dot(Author(NodeId("z" * 32), 1), number)
                state = replace(state, gone, dot, supersede(state, gone, Version(Kind.TOMBSTONE)))
    else:
        pytest.fail("the plan never came to rest")
    contents = {version.content for version in state.values() if version.living}
    assert len(contents) <= 1
    assert (base.content if base else None) == (next(iter(contents), FOLDER if below else None)) or below


def test_a_content_that_is_unknown_here_is_replaced_whatever_it_is() -> None:
    """A base that no sibling holds was superseded: it goes to the trash as it is replaced."""
    stale = Base(Content(Kind.FILE, b"\x09" * 32), Stat(Kind.FILE, 1, 1, 1, 1, 0o644))
    assert plan(PATH, {Dot(A, 1): WON}, stale, False) == Place(WON, frozenset({Dot(A, 1)}))
