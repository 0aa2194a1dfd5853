"""Which deletions were one, and what each of them took."""

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as some

from meerkat.core.undelete import Lost, stood, together
from meerkat.model.ids import Digest
from meerkat.model.path import RelPath
from meerkat.model.version import Kind, Version

GAP_MS = 1000
TOMBSTONE = Version(Kind.TOMBSTONE)
FOLDER = Version(Kind.FOLDER, mode=0o755)


def file(text: str, height: int = 1, *, weak: bool = False) -> Version:
    return Version(Kind.FILE, digest=Digest(blake3(text.encode()).digest()), height=height, weak=weak)


def lost(path: str, at_ms: int, version: Version | None = None) -> Lost:
    return Lost(RelPath(path), version or file(path), at_ms)


def test_the_last_edit_stood_there() -> None:
    """Of one life of the path, the version that had grown highest, in whatever order the writes were heard of."""
    one, two = file("one"), file("two", 2)
    assert stood([TOMBSTONE, two, one]) == two
    assert stood([TOMBSTONE, one, two]) == two


def test_of_two_that_met_it_is_the_one_that_had_won() -> None:
    """The loser stands in its copy; though heard of last, it is not what the path showed."""
    rivals = sorted((file("ada's"), file("bob's")), key=lambda version: version.content)
    assert stood([TOMBSTONE, *rivals]) == stood([TOMBSTONE, *reversed(rivals)]) == rivals[1]
    assert stood([TOMBSTONE, file("imported", weak=True), rivals[0]]) == rivals[0]


def test_an_earlier_life_is_over() -> None:
    """What was deleted before and made anew is not what was deleted now, however high it had grown; a deletion that
    two people made is one."""
    assert stood([TOMBSTONE, file("anew"), TOMBSTONE, file("before", 9)]) == file("anew")
    assert stood([TOMBSTONE, TOMBSTONE, file("it")]) == file("it")


def test_what_lives_was_not_deleted() -> None:
    """Nor is there anything to say of a path without history, or of which only the end is known."""
    assert stood([file("back"), TOMBSTONE, file("it")]) is None
    assert stood([]) is None
    assert stood([TOMBSTONE]) is None


def test_what_went_a_while_before_stays_gone() -> None:
    """A file deleted by itself earlier is no part of its folder's going; what went in parts is."""
    parts = [lost(f"d/{number}", 10_000 + number * GAP_MS) for number in range(5)]
    assert together([lost("d/old", 9_000 - 1), *parts, lost("d", 14_000, FOLDER)], GAP_MS) == [
        lost("d", 14_000, FOLDER),
        *parts,
    ]


def test_nothing_stands_in_a_file() -> None:
    """Where a folder gave way to a file, and that went as well, only one of the two can be had at once."""
    assert together([lost("d", 2), lost("d/x", 1), lost("d-x", 1)], GAP_MS) == [lost("d", 2), lost("d-x", 1)]


@given(some.lists(some.tuples(some.sampled_from("abcdefgh"), some.integers(0, 20_000)), unique_by=lambda item: item[0]))
def test_a_deletion_has_no_gaps(going: list[tuple[str, int]]) -> None:
    """It holds the last to go; nothing left out lies close to what is in it."""
    everything = [lost(path, at) for path, at in going]
    chosen = together(everything, GAP_MS)
    left = [each for each in everything if each not in chosen]
    assert bool(chosen) == bool(everything)
    if chosen:
        first = min(each.at_ms for each in chosen)
        assert all(each.at_ms < first - GAP_MS for each in left)
        assert max(each.at_ms for each in everything) == max(each.at_ms for each in chosen)
