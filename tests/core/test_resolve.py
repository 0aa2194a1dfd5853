"""Who wins a path, and what the loser's copy is called: the same everywhere, whatever came first."""

import random

from hypothesis import given
from hypothesis import strategies as st
from strategies import digests, paths
from strategies import siblings as sibling_sets

from meerkat.core.resolve import copied_from, copy_path, is_copy, view
from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import NAME_BYTES_MAX
from meerkat.model.path import RelPath, name, parent, parse_path
from meerkat.model.version import FOLDER, Content, Kind, Siblings, Version

A, B, C = (Author(NodeId(letter * 32), 1) for letter in "abc")


def file(number: int, height: int = 1, *, weak: bool = False, mode: int = 0) -> Version:
    return Version(Kind.FILE, digest=Digest(bytes([number]) * 32), height=height, weak=weak, mode=mode)


@given(sibling_sets, st.booleans(), st.randoms(use_true_random=False))
def test_the_view_depends_on_the_set_alone(siblings: Siblings, below: bool, dice: random.Random) -> None:
    """Whatever order the siblings came in, every node shows the same."""
    items = list(siblings.items())
    dice.shuffle(items)
    assert view(dict(items), below) == view(siblings, below)


@given(sibling_sets, st.booleans())
def test_nothing_living_is_left_out(siblings: Siblings, below: bool) -> None:
    """Each living content is the winner or a loser, once."""
    outlook = view(siblings, below)
    shown = [item.content for item in outlook.losers]
    if outlook.winner is not None and not outlook.implied:
        shown.append(outlook.winner.content)
    assert sorted(shown) == sorted({version.content for version in siblings.values() if version.living})


def test_the_order_of_winning() -> None:
    """R3: a folder first, then what a person wrote, then the greater height, then the digest."""
    weak, low, high, folder = file(9, 9, weak=True), file(3, 1), file(1, 2), Version(Kind.FOLDER)
    siblings = {Dot(A, 1): weak, Dot(B, 1): low, Dot(C, 1): high, Dot(A, 2): folder, Dot(A, 3): file(2, 1)}
    order = [view(siblings, False).winner, *view(siblings, False).losers]
    assert [item.content for item in order if item] == [
        FOLDER,
        high.content,
        low.content,
        file(2).content,
        weak.content,
    ]


def test_twins_are_one_and_the_greatest_dot_has_the_metadata() -> None:
    """Equal contents are one item with several dots; one of them written by a person is enough."""
    siblings = {Dot(A, 1): file(1, mode=0o600), Dot(B, 1): file(1, weak=True, mode=0o644)}
    outlook = view(siblings, False)
    assert outlook.winner is not None
    assert outlook.winner.dots == {Dot(A, 1), Dot(B, 1)}
    assert outlook.winner.version.mode == 0o644
    assert outlook.losers == ()


def test_a_folder_is_implied_by_what_lives_in_it() -> None:
    """R13: nothing, a tombstone or a file at the path: with something living below, it shows a folder."""
    assert view({}, True).implied
    assert view({Dot(A, 1): Version(Kind.TOMBSTONE)}, True).winner is not None
    outlook = view({Dot(A, 1): file(1)}, True)
    assert outlook.implied
    assert [item.content for item in outlook.losers] == [file(1).content]
    assert not view({Dot(A, 1): Version(Kind.FOLDER)}, True).implied
    assert view({Dot(A, 1): Version(Kind.TOMBSTONE)}, False).winner is None


def test_a_copys_name_is_made_of_path_and_digest() -> None:
    """The ending stays, so that programs open the copy; dotfiles keep their dot."""
    loser = Content(Kind.FILE, bytes.fromhex("3f9a12c4") + bytes(28))
    named = {
        "report.docx": "report.conflict-3f9a12c4.docx",
        "d/e/a.tar.gz": "d/e/a.tar.conflict-3f9a12c4.gz",
        "README": "README.conflict-3f9a12c4",
        ".bashrc": ".bashrc.conflict-3f9a12c4",
        "x.this is no ending at all": "x.this is no ending at all.conflict-3f9a12c4",
    }
    for old, new in named.items():
        assert copy_path(RelPath(old), loser) == new


@given(paths, digests)
def test_every_copy_has_a_name_that_fits(path: RelPath, digest: Digest) -> None:
    """It is a valid path in the same folder, not the path itself, and so is the copy of the copy."""
    content = Content(Kind.FILE, digest)
    copy = copy_path(path, content)
    again = copy_path(copy, content)
    for one in (copy, again):
        assert parse_path(one) == one
        assert parent(one) == parent(path)
    assert len({path, copy, again}) == 3


@given(digests)
def test_names_at_the_limit_are_cut_and_stay_apart(digest: Digest) -> None:
    """255 bytes leave no room: the stem is cut, whole characters only, and copies of copies still differ."""
    content = Content(Kind.FILE, digest)
    path = RelPath("é" * 125 + ".docx")
    seen = {path}
    for _ in range(4):
        path = copy_path(path, content)
        assert len(name(path).encode()) <= NAME_BYTES_MAX
        assert path not in seen
        seen.add(path)


def test_a_copy_is_known_by_its_name_and_bytes() -> None:
    """Only the very name that this content's copy has makes a file one, whoever put it there."""
    content = Content(Kind.FILE, bytes.fromhex("3f9a12c4") + bytes(28))
    assert copied_from(RelPath("d/report.conflict-3f9a12c4.docx")) == "d/report.docx"
    assert copied_from(RelPath("d/report.docx")) is None
    assert is_copy(RelPath("d/report.conflict-3f9a12c4.docx"), content)
    assert not is_copy(RelPath("d/report.conflict-00000000.docx"), content)
    assert not is_copy(RelPath("d/report.docx"), content)
