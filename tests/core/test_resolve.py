"""What a path shows and what a loser's copy is called: pure functions of what is known, the same on every node."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import names, paths, siblings

from meerkat.core.resolve import IMPLIED_FOLDER, copied_from, copy_path, is_copy, view
from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import NAME_BYTES_MAX, PATH_BYTES_MAX
from meerkat.model.path import RelPath, name, parent, parse_path
from meerkat.model.version import FOLDER, Content, Kind, Siblings, Version

A, B, C = (Author(NodeId(letter * 32), 1) for letter in "abc")
LOW, HIGH = (Version(Kind.FILE, digest=Digest(bytes([number]) * 32)) for number in (1, 200))
LINK = Version(Kind.SYMLINK, target="elsewhere")
DIR = Version(Kind.FOLDER, mode=0o755)
GONE = Version(Kind.TOMBSTONE)

contents = st.one_of(
    st.binary(min_size=32, max_size=32).map(lambda digest: Content(Kind.FILE, digest)),
    st.binary(min_size=1, max_size=40).map(lambda target: Content(Kind.SYMLINK, target)),
    st.just(FOLDER),
)


def winner_of(siblings: Siblings, living_below: bool = False) -> Content | None:
    item = view(siblings, living_below).winner
    return None if item is None else item.content


# ---- R3: the view


def test_nothing_shows_nothing() -> None:
    """No siblings, or tombstones alone: the path is empty."""
    assert view({}, False).winner is None
    assert view({Dot(A, 1): GONE}, False).winner is None
    assert view({Dot(A, 1): GONE}, False).losers == ()


@pytest.mark.parametrize(
    ("siblings", "winner"),
    [
        ({Dot(A, 1): LOW, Dot(B, 1): GONE}, LOW),
        ({Dot(A, 1): LOW, Dot(B, 1): HIGH}, HIGH),
        ({Dot(A, 1): msgspec.structs.replace(LOW, height=2), Dot(B, 1): HIGH}, LOW),
        ({Dot(A, 1): LOW, Dot(B, 1): msgspec.structs.replace(HIGH, height=9, weak=True)}, LOW),
        ({Dot(A, 1): msgspec.structs.replace(DIR, weak=True), Dot(B, 1): msgspec.structs.replace(HIGH, height=9)}, DIR),
        ({Dot(A, 1): LOW, Dot(B, 1): LINK}, LINK),
        ({Dot(A, 1): msgspec.structs.replace(LOW, mtime_ns=2**60), Dot(B, 1): HIGH}, HIGH),
    ],
    ids=[
        "an edit beats a deletion",
        "then the digest",
        "the greater height",
        "what a person wrote, whatever the height",
        "a folder before everything",
        "kinds are told apart",
        "never a clock",
    ],
)
def test_who_wins(siblings: Siblings, winner: Version) -> None:
    """Folder, person, height, digest, in this order."""
    assert winner_of(siblings) == winner.content


def test_twins_are_one_item() -> None:
    """Equal content is one item with all its dots; its strength is the strongest dot's, its bits the greatest dot's."""
    strong = msgspec.structs.replace(LOW, height=5, mtime_ns=1, mode=0o600)
    late = msgspec.structs.replace(LOW, height=1, mtime_ns=2, mode=0o644, weak=True)
    outlook = view({Dot(A, 1): strong, Dot(C, 1): late, Dot(B, 1): msgspec.structs.replace(HIGH, height=4)}, False)
    assert outlook.winner is not None
    assert outlook.winner.dots == {Dot(A, 1), Dot(C, 1)}
    assert outlook.winner.version == late
    assert [item.content for item in outlook.losers] == [HIGH.content]


def test_something_living_below_implies_a_folder() -> None:
    """It shows a folder that nobody need have written; files there lose to it; a written folder keeps its bits."""
    assert view({Dot(A, 1): GONE}, True).winner == IMPLIED_FOLDER
    outlook = view({Dot(A, 1): LOW, Dot(B, 1): HIGH}, True)
    assert (outlook.winner, outlook.implied) == (IMPLIED_FOLDER, True)
    assert [item.content for item in outlook.losers] == [HIGH.content, LOW.content]
    written = view({Dot(A, 1): msgspec.structs.replace(DIR, mode=0o700)}, True)
    assert written.winner is not None
    assert (written.winner.version.mode, written.implied) == (0o700, False)


@given(siblings, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(them: Siblings, below: bool, rng: random.Random) -> None:
    """Whatever was heard first, every node sees the same."""
    items = list(them.items())
    rng.shuffle(items)
    assert view(dict(items), below) == view(them, below)


@given(siblings, st.booleans())
def test_every_living_content_is_somewhere(them: Siblings, below: bool) -> None:
    """Winner and losers together are exactly the living contents, each once, with exactly the living dots."""
    outlook = view(them, below)
    items = ([] if outlook.winner in (None, IMPLIED_FOLDER) else [outlook.winner]) + list(outlook.losers)
    found = [item for item in items if item is not None]
    living = {dot for dot, version in them.items() if version.living}
    assert sorted(dot for item in found for dot in item.dots) == sorted(living)
    assert len({item.content for item in found}) == len(found)
    assert (outlook.winner is None) == (not living and not below)


@given(siblings, st.booleans())
def test_a_folder_never_loses(them: Siblings, below: bool) -> None:
    """Nothing that may hold something is ever put aside as a loser."""
    assert all(item.content != FOLDER for item in view(them, below).losers)


# ---- R7: the copy's name

DIGEST = Content(Kind.FILE, bytes.fromhex("3f9a12c4") + bytes(28))


@pytest.mark.parametrize(
    ("path", "copy"),
    [
        ("report.docx", "report.conflict-3f9a12c4.docx"),
        ("a/b/report.docx", "a/b/report.conflict-3f9a12c4.docx"),
        ("a.b/report", "a.b/report.conflict-3f9a12c4"),
        (".profile", ".profile.conflict-3f9a12c4"),
        ("x.tar.gz", "x.tar.conflict-3f9a12c4.gz"),
        ("ends.", "ends.conflict-3f9a12c4."),
        ("Dr. No and all that followed", "Dr. No and all that followed.conflict-3f9a12c4"),
        ("report.conflict-00000000.docx", "report.conflict-00000000.conflict-3f9a12c4.docx"),
    ],
)
def test_copy_names(path: str, copy: str) -> None:
    """The tag stands before the extension, where there is one; folders and hidden names are left whole."""
    assert copy_path(parse_path(path), DIGEST) == copy


@given(paths, contents)
def test_a_copy_has_a_name_that_can_be_shared(path: RelPath, content: Content) -> None:
    """It is a valid path in the same folder, and not the path itself, whatever is copied, copies included."""
    seen = {path}
    for _ in range(3):
        copy = copy_path(path, content)
        assert parse_path(copy) == copy
        assert parent(copy) == parent(path)
        assert copy not in seen
        assert is_copy(copy, content) or len(copy_path_name(path)) > NAME_BYTES_MAX - 30
        seen.add(copy)
        path = copy


def copy_path_name(path: RelPath) -> bytes:
    return name(path).encode()


@given(st.integers(200, NAME_BYTES_MAX), st.sampled_from(["", ".txt", ".x" * 7, "é", "."]), contents)
def test_long_names_are_cut(length: int, end: str, content: Content) -> None:
    """The bound of 255 bytes holds to the byte, also for copies of copies, and characters are not cut in two."""
    stem = "é" * (length // 2)
    path = RelPath((stem.encode()[: NAME_BYTES_MAX - len(end.encode())]).decode("utf-8", "ignore") + end)
    seen = {path}
    for _ in range(4):
        path = copy_path(path, content)
        assert len(name(path).encode()) <= NAME_BYTES_MAX
        assert path not in seen
        seen.add(path)


@given(paths, contents, contents)
def test_different_contents_have_different_copies(path: RelPath, one: Content, other: Content) -> None:
    """Two losers of one path do not fall on each other (unless the first 32 bits of their digests do)."""
    same_tag = copy_path(RelPath("f"), one) == copy_path(RelPath("f"), other)
    assert (copy_path(path, one) == copy_path(path, other)) == same_tag


@pytest.mark.parametrize("last", ["x", "x" * 30 + ".txt", "x" * 200])
@pytest.mark.parametrize("spare", [0, 1, 17, 18, 19, 40])
def test_long_paths_have_copies_too(last: str, spare: int) -> None:
    """A path that is as long as paths can be has copies that every member takes, if need be in a folder above."""
    length = PATH_BYTES_MAX - spare - len(last) - 1
    folders = ["f" * 199] * (length // 200)
    folders.append("g" * (length - len("/".join(folders)) - 1))
    path = parse_path("/".join([*folders, last]))
    assert len(path) == PATH_BYTES_MAX - spare
    seen = {path}
    for _ in range(3):
        path = copy_path(path, DIGEST)
        assert parse_path(path) not in seen
        seen.add(path)


def test_long_siblings_do_not_share_a_copy() -> None:
    """Two long names that differ only where they are cut have copies of their own."""
    one, other = RelPath("n" * 254 + "a"), RelPath("n" * 254 + "b")
    assert copy_path(one, DIGEST) != copy_path(other, DIGEST)


# ---- reading the name back


@pytest.mark.parametrize("path", ["report.docx", "a/b/report", ".profile", "x.tar.gz", "a.conflict-00000000.txt"])
def test_a_copy_tells_what_it_belongs_to(path: str) -> None:
    """A copy's name names the path whose loser it holds; a copy of a copy names the copy."""
    copy = copy_path(parse_path(path), DIGEST)
    assert copied_from(copy) == path
    assert is_copy(copy, DIGEST)


@pytest.mark.parametrize("path", ["report.docx", "a.conflict-xyz.txt", "a.conflict-3f9a12c4.b.c", "conflict-3f9a12c4"])
def test_other_names_belong_to_nothing(path: str) -> None:
    """What is only similar is no copy."""
    assert copied_from(RelPath(path)) is None
    assert not is_copy(RelPath(path), DIGEST)


def test_a_copy_that_was_edited_is_a_persons() -> None:
    """The name alone does not make it a copy: the content has to be the one that it names."""
    copy = copy_path(RelPath("f.txt"), DIGEST)
    assert is_copy(copy, DIGEST)
    assert not is_copy(copy, Content(Kind.FILE, b"e" * 32))


@given(names)
def test_reading_a_name_back_never_fails(text: str) -> None:
    """Any name is either a copy of a valid path, or none."""
    belongs = copied_from(RelPath(text))
    assert belongs is None or belongs != text
