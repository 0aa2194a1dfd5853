"""What a look at the disk means: the table of R4-R5, that of adoption (R11, R12), and which paths are looked at."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import few_paths, siblings

from meerkat.core.compare import Change, adopt, compare, differing, known_content, touched, version_of
from meerkat.core.merge import mark, replace
from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath, tree_key
from meerkat.model.version import FOLDER, Base, Content, Kind, Siblings, Stat, Version

A, B, C = (Author(NodeId(letter * 32), 1) for letter in "abc")


def file(number: int, mtime_ns: int = 7, mode: int = 0o644) -> Base:
    return Base(Content(Kind.FILE, bytes([number]) * 32), Stat(Kind.FILE, number, mtime_ns, 1, 2, mode))


def folder(mode: int = 0o755) -> Base:
    return Base(FOLDER, Stat(Kind.FOLDER, 0, 5, 1, 2, mode))


OLD, NEW, OTHER = file(1), file(2), file(3)
DIR = folder()
LINK = Base(Content(Kind.SYMLINK, b"target"), Stat(Kind.SYMLINK, 6, 5, 1, 2, 0o777))
V_OLD, V_NEW, V_OTHER, V_DIR = (version_of(base) for base in (OLD, NEW, OTHER, DIR))
GONE = Version(Kind.TOMBSTONE)
OVER_NEW = msgspec.structs.replace(V_OTHER, hist=(mark(NEW.content),))
GONE_OVER_NEW = msgspec.structs.replace(GONE, hist=(mark(NEW.content),))


def names(change: Change | None) -> tuple[Content, set[str]] | None:
    """What was written, and the nodes whose dots it replaces (each node has one)."""
    if change is None:
        return None
    return change.version.content, {dot.author.node[0] for dot in change.replaces}


def there(**versions: Version) -> Siblings:
    return {Dot(Author(NodeId(letter * 32), 1), 1): version for letter, version in versions.items()}


TOMB = GONE.content

# ---- R4-R5


@pytest.mark.parametrize(
    ("siblings", "base", "have", "below", "change"),
    [
        ({}, None, None, False, None),
        ({}, None, NEW, False, (NEW.content, set())),
        ({}, None, DIR, False, (FOLDER, set())),
        ({}, None, LINK, False, (LINK.content, set())),
        (there(a=V_OLD), OLD, OLD, False, None),
        (there(a=V_OLD), OLD, NEW, False, (NEW.content, {"a"})),
        (there(a=V_OLD), OLD, None, False, (TOMB, {"a"})),
        (there(a=V_OLD, b=GONE), OLD, NEW, False, (NEW.content, {"a", "b"})),
        (there(a=V_OLD, b=GONE), OLD, None, False, (TOMB, {"a", "b"})),
        (there(a=V_OLD, b=V_OTHER), OLD, NEW, False, (NEW.content, {"a"})),
        (there(a=V_OLD, b=V_OTHER), OLD, None, False, (TOMB, {"a"})),
        (there(a=V_OLD, b=V_OLD), OLD, NEW, False, (NEW.content, {"a", "b"})),
        (there(a=V_OLD, b=V_NEW), OLD, NEW, False, (NEW.content, {"a", "b"})),
        (there(b=V_NEW), OLD, NEW, False, None),
        (there(b=V_NEW), None, NEW, False, None),
        (there(b=V_NEW, c=GONE), None, NEW, False, None),
        (there(b=V_OTHER), OLD, NEW, False, (NEW.content, set())),
        (there(b=V_OTHER), None, NEW, False, (NEW.content, set())),
        (there(b=V_OTHER), OLD, None, False, None),
        (there(b=GONE), OLD, None, False, None),
        (there(b=GONE), OLD, OLD, False, None),
        (there(b=GONE), None, NEW, False, (NEW.content, {"b"})),
        (there(a=V_DIR), DIR, None, True, (TOMB, {"a"})),
        (there(a=GONE), DIR, None, True, None),
        (there(a=GONE), None, DIR, True, None),
        (there(a=GONE), None, DIR, False, (FOLDER, {"a"})),
        (there(a=V_OLD), OLD, DIR, False, (FOLDER, {"a"})),
        (there(a=V_OLD), OLD, DIR, True, (FOLDER, {"a"})),
        (there(a=V_DIR), DIR, NEW, False, (NEW.content, {"a"})),
        (there(a=GONE), DIR, DIR, True, None),
    ],
    ids=[
        "nothing",
        "a new file",
        "a new folder",
        "a new link",
        "as it was",
        "an edit",
        "a deletion",
        "an edit beside a tombstone",
        "a deletion beside a tombstone",
        "an edit beside what was only heard of",
        "a deletion beside what was only heard of",
        "an edit of twins",
        "an edit to what another wrote",
        "agreement with news",
        "agreement at first sight",
        "agreement beside a tombstone",
        "an edit of what the pool has replaced",
        "a file where another was heard of",
        "a deletion of what the pool has replaced",
        "a deletion of what the pool deleted",
        "kept though the pool deleted it",
        "made anew after a deletion",
        "a folder goes with all in it",
        "an implied folder goes",
        "an implied folder is made",
        "a folder is made anew",
        "a file becomes a folder",
        "a file becomes a folder with something in it",
        "a folder becomes a file",
        "an implied folder as it was",
    ],
)
def test_compare(
    siblings: Siblings, base: Base | None, have: Base | None, below: bool, change: tuple[Content, set[str]] | None
) -> None:
    """A write replaces what the person saw, its twins and tombstones, and never what was only heard of."""
    assert names(compare(siblings, base, have, below)) == change


def test_a_write_passes_height_and_hist_on() -> None:
    """It stands above what it replaces and names it; it is a person's."""
    change = compare(there(a=msgspec.structs.replace(V_OLD, height=4)), OLD, NEW, False)
    assert change is not None
    assert (change.version.height, change.version.hist) == (5, (mark(OLD.content),))
    assert not change.version.weak


@pytest.mark.parametrize(
    ("siblings", "base", "have", "below", "replaced"),
    [
        (there(a=V_OLD), OLD, file(1, mtime_ns=8), False, {"a"}),
        (there(a=V_OLD), OLD, file(1, mode=0o755), False, {"a"}),
        (there(a=V_OLD, b=V_OLD, c=V_NEW), OLD, file(1, mtime_ns=8), False, {"a", "b"}),
        (there(a=V_DIR), DIR, folder(mode=0o700), False, {"a"}),
        (there(a=GONE), DIR, folder(mode=0o700), True, {"a"}),
        (there(b=V_NEW), OLD, file(1, mtime_ns=8), False, None),
        (there(a=V_DIR), DIR, Base(FOLDER, DIR.stat._replace(mtime_ns=99)), False, None),
        (there(a=V_OLD), OLD, Base(OLD.content, OLD.stat._replace(ctime_ns=9, inode=9)), False, None),
        (there(a=version_of(LINK)), LINK, Base(LINK.content, LINK.stat._replace(mtime_ns=9)), False, None),
    ],
    ids=[
        "a file's time",
        "its bits",
        "twins together",
        "a folder's bits",
        "an implied folder's",
        "of something overtaken",
        "a folder's time",
        "inode and ctime",
        "a link's time",
    ],
)
def test_times_and_bits(siblings: Siblings, base: Base, have: Base, below: bool, replaced: set[str] | None) -> None:
    """Bits, and a file's time, are told as a write of the same content; what does not travel is not."""
    change = compare(siblings, base, have, below)
    assert (change is not None) == touched(base, have) or replaced is None
    assert names(change) == (None if replaced is None else (have.content, replaced))
    if change is not None:
        assert mark(have.content) not in change.version.hist


BASES = st.sampled_from([None, OLD, NEW, OTHER, DIR, LINK])


@given(siblings, BASES, BASES, st.booleans())
def test_only_what_was_seen_is_replaced(them: Siblings, base: Base | None, have: Base | None, below: bool) -> None:
    """Whatever the pool says: a living sibling goes only if the person saw it, or wrote the same."""
    change = compare(them, base, have, below)
    if change is None:
        return
    seen = {None if base is None else base.content, None if have is None else have.content}
    assert all(not them[dot].living or them[dot].content in seen for dot in change.replaces)
    change.version.ensure_valid()


@given(siblings, BASES, BASES, st.booleans())
def test_looking_again_writes_nothing(them: Siblings, base: Base | None, have: Base | None, below: bool) -> None:
    """Once a look was recorded, the same look has nothing to tell."""
    change = compare(them, base, have, below)
    if change is not None:
        them = replace(them, change.replaces, Dot(C, 2**50), change.version)
    assert compare(them, have, have, below) is None


# ---- R11-R12


@pytest.mark.parametrize(
    ("siblings", "base", "have", "below", "change"),
    [
        ({}, None, NEW, False, (NEW.content, set())),
        (there(a=V_NEW), None, NEW, False, None),
        (there(a=OVER_NEW), None, NEW, False, None),
        (there(a=GONE_OVER_NEW), None, NEW, False, None),
        (there(a=V_OTHER), None, NEW, False, (NEW.content, set())),
        (there(a=GONE), None, NEW, False, (NEW.content, set())),
        (there(a=V_OLD), OLD, None, False, None),
        (there(a=V_OLD), OLD, OLD, False, None),
        (there(a=V_OLD), OLD, NEW, False, (NEW.content, {"a"})),
        (there(a=V_OLD, b=GONE), OLD, NEW, False, (NEW.content, {"a", "b"})),
        (there(a=OVER_NEW), OLD, NEW, False, None),
        (there(a=V_OTHER), OLD, NEW, False, (NEW.content, set())),
        (there(a=V_OTHER), OLD, OLD, False, None),
        (there(a=GONE), None, DIR, True, None),
        (there(a=GONE), None, DIR, False, (FOLDER, set())),
        ({}, None, DIR, True, None),
        (there(a=V_DIR), None, DIR, False, None),
    ],
    ids=[
        "unknown to the pool",
        "known",
        "superseded by an edit",
        "superseded by a deletion",
        "beside another",
        "deleted unseen",
        "missing",
        "as the old base says",
        "changed since the old base",
        "changed since, beside a tombstone",
        "changed since, and superseded",
        "changed since, from what the pool has replaced",
        "as the old base says, overtaken",
        "an implied folder",
        "a deleted folder",
        "an implied folder, unknown",
        "a known folder",
    ],
)
def test_adopt(
    siblings: Siblings, base: Base | None, have: Base | None, below: bool, change: tuple[Content, set[str]] | None
) -> None:
    """What the pool shows or has superseded is only noted; what it never saw stands beside; nothing missing is told."""
    assert names(adopt(siblings, base, have, below)) == change


def test_what_is_adopted_is_weak() -> None:
    """Nobody wrote it just now; but a change of what the pool still shows is a person's."""
    found = adopt(there(a=V_OTHER), None, NEW, False)
    changed = adopt(there(a=V_OLD), OLD, NEW, False)
    assert found is not None
    assert changed is not None
    assert (found.version.weak, found.version.height, found.version.hist) == (True, 1, ())
    assert (changed.version.weak, changed.version.height) == (False, 2)


@given(siblings, BASES, BASES, st.booleans())
def test_adopting_never_deletes(them: Siblings, base: Base | None, have: Base | None, below: bool) -> None:
    """Whatever is missing or stale, no tombstone is written and no other's content replaced."""
    change = adopt(them, base, have, below)
    if change is not None:
        assert change.version.living
        assert all(not them[dot].living or (base and them[dot].content == base.content) for dot in change.replaces)


def test_known_content() -> None:
    """A content is known while a sibling holds it or has superseded it, tombstones included."""
    assert known_content(there(a=V_NEW), NEW.content)
    assert known_content(there(a=V_OLD, b=GONE_OVER_NEW), NEW.content)
    assert not known_content(there(a=V_OLD, b=GONE), NEW.content)


# ---- versions


@pytest.mark.parametrize("base", [NEW, DIR, LINK])
def test_a_version_says_what_was_seen(base: Base) -> None:
    """Kind, content and what travels of the metadata; a valid version."""
    version = version_of(base, weak=True)
    version.ensure_valid()
    assert (version.content, version.weak) == (base.content, True)
    assert version.mode == (0 if base is LINK else base.stat.mode)


def test_a_recipe_comes_along() -> None:
    """A file of several chunks names its recipe."""
    recipe = Digest(b"r" * 32)
    assert version_of(msgspec.structs.replace(NEW, recipe=recipe)).recipe == recipe


# ---- which paths are worth a look


def differing_slowly(walked: dict[RelPath, Stat], bases: dict[RelPath, Base]) -> set[RelPath]:
    return {
        path
        for path in {*walked, *bases}
        if path not in walked or path not in bases or walked[path] != bases[path].stat or bases[path].racy
    }


STATS = st.sampled_from([OLD.stat, NEW.stat, DIR.stat])
SOME_BASES = st.builds(lambda stat, racy: Base(Content(stat.kind, b""), stat, racy=racy), STATS, st.booleans())


@given(st.dictionaries(few_paths, STATS), st.dictionaries(few_paths, SOME_BASES))
def test_differing(walked: dict[RelPath, Stat], bases: dict[RelPath, Base]) -> None:
    """Exactly the paths that came, went, look otherwise or were racy, each once, in tree order, with what is there."""

    def in_order(found: dict[RelPath, Stat] | dict[RelPath, Base]) -> Iterator[RelPath]:
        return iter(sorted(found, key=tree_key))

    found = list(
        differing(
            ((path, walked[path]) for path in in_order(walked)), ((path, bases[path]) for path in in_order(bases))
        )
    )
    assert [path for path, _ in found] == sorted(differing_slowly(walked, bases), key=tree_key)
    assert all(size == (walked[path].size if path in walked else 0) for path, size in found)
