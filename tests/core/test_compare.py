"""What a look at the disk means: which write a person's doing amounts to, and which it does not."""

import pytest

from meerkat.core.compare import Change, adopt, compare, differing, known_content, touched, version_of
from meerkat.core.merge import mark
from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import FOLDER, Base, Content, Kind, Siblings, Stat, Version

A, B = (Author(NodeId(letter * 32), 1) for letter in "ab")
DEAD = Version(Kind.TOMBSTONE, height=2)


def version(number: int, height: int = 1, hist: tuple[bytes, ...] = ()) -> Version:
    return Version(Kind.FILE, size=number, mtime_ns=7, mode=0o644, digest=digest(number), height=height, hist=hist)


def digest(number: int) -> Digest:
    return Digest(bytes([number]) * 32)


def base(number: int, *, mtime_ns: int = 7, mode: int = 0o644, inode: int = 1) -> Base:
    return Base(Content(Kind.FILE, digest(number)), Stat(Kind.FILE, number, mtime_ns, 7, inode, mode))


def folder(mode: int = 0o755) -> Base:
    return Base(FOLDER, Stat(Kind.FOLDER, 0, 0, 0, 5, mode))


ONE, TWO, HEARD, GONE = Dot(A, 1), Dot(A, 2), Dot(B, 1), Dot(B, 2)

CASES: list[tuple[str, Siblings, Base | None, Base | None, bool, set[Dot] | None]] = [
    ("a new file", {}, None, base(1), False, set()),
    ("an edit replaces what the person saw", {ONE: version(1)}, base(1), base(2), False, {ONE}),
    ("and never what was only heard of", {ONE: version(1), HEARD: version(9)}, base(1), base(2), False, {ONE}),
    ("twins of what was seen go with it", {ONE: version(1), TWO: version(1)}, base(1), base(2), False, {ONE, TWO}),
    ("tombstones go with any write", {ONE: version(1), GONE: DEAD}, base(1), base(2), False, {ONE, GONE}),
    ("a deletion", {ONE: version(1)}, base(1), None, False, {ONE}),
    ("a deletion of what the pool has replaced is none", {HEARD: version(9)}, base(1), None, False, None),
    ("a deletion beside another edit keeps that", {ONE: version(1), HEARD: version(9)}, base(1), None, False, {ONE}),
    ("what the pool has already is agreement", {HEARD: version(9)}, None, base(9), False, None),
    ("also when it stood in for something forgotten", {HEARD: version(9)}, base(1), base(9), False, None),
    (
        "an edit that meets another's equal one",
        {ONE: version(1), HEARD: version(9)},
        base(1),
        base(9),
        False,
        {ONE, HEARD},
    ),
    ("a file where the pool deleted", {GONE: DEAD}, None, base(1), False, {GONE}),
    ("nothing changed", {ONE: version(1)}, base(1), base(1), False, None),
    ("other bits", {ONE: version(1)}, base(1), base(1, mode=0o755), False, {ONE}),
    ("another time", {ONE: version(1)}, base(1), base(1, mtime_ns=8), False, {ONE}),
    ("another inode alone is nothing", {ONE: version(1)}, base(1), base(1, inode=2), False, None),
    ("other bits of what the pool has replaced", {HEARD: version(9)}, base(1), base(1, mode=0o755), False, None),
    ("a new folder", {}, None, folder(), False, set()),
    ("a folder that is implied already", {}, None, folder(), True, None),
    ("a folder in place of a file", {ONE: version(1)}, base(1), folder(), False, {ONE}),
    ("a file in place of a folder", {ONE: Version(Kind.FOLDER)}, folder(), base(1), False, {ONE}),
]


@pytest.mark.parametrize(
    ("siblings", "was", "have", "below", "replaced"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_a_look_amounts_to(
    siblings: Siblings, was: Base | None, have: Base | None, below: bool, replaced: set[Dot] | None
) -> None:
    """R4-R5, case by case: the dots that the write replaces, or that there is none."""
    change = compare(siblings, was, have, below)
    if replaced is None:
        assert change is None
        return
    assert change is not None
    assert change.replaces == replaced
    assert change.version.content == (have.content if have is not None else Version(Kind.TOMBSTONE).content)
    assert change.version.height == 1 + max((siblings[dot].height for dot in replaced), default=0)
    assert not change.version.weak


def test_adopting_writes_only_what_the_pool_has_never_seen() -> None:
    """R11: shown or superseded content is only noted, anything else becomes weak beside it, nothing missing dies."""
    pool = {HEARD: version(9, 2, hist=(mark(base(1).content),))}
    assert adopt(pool, None, base(9), False) is None
    assert adopt(pool, None, base(1), False) is None, "merely behind"
    strange = adopt(pool, None, base(5), False)
    assert strange is not None
    assert strange.version.weak
    assert strange.replaces == frozenset()
    assert adopt(pool, base(9), None, False) is None
    deleted = {GONE: Version(Kind.TOMBSTONE, hist=(mark(base(1).content),))}
    assert adopt(deleted, None, base(1), False) is None, "what the pool deleted does not come back"
    assert adopt({}, None, folder(), True) is None


def test_adopting_beside_an_old_base() -> None:
    """R12: where the old base still lives, a change is an ordinary write; an unchanged file is left alone."""
    assert adopt({ONE: version(1)}, base(1), base(2), False) == Change(
        version(2, 2, hist=(mark(base(1).content),)), frozenset({ONE})
    )
    assert adopt({HEARD: version(9)}, base(1), base(1), False) is None


def test_content_is_known_by_siblings_and_their_history() -> None:
    """Tombstones remember, too."""
    siblings = {GONE: Version(Kind.TOMBSTONE, hist=(mark(base(1).content),))}
    assert known_content(siblings, base(1).content)
    assert not known_content(siblings, base(2).content)


def test_links_have_no_metadata_that_travels() -> None:
    """A link's time and bits are nobody's edit."""
    link = Base(Content(Kind.SYMLINK, b"x"), Stat(Kind.SYMLINK, 0, 1, 1, 1, 0))
    later = Base(link.content, link.stat._replace(mtime_ns=2))
    assert not touched(link, later)
    assert version_of(link).target == "x"


def test_only_what_differs_is_worth_a_look() -> None:
    """Came, went, looks otherwise, or was racy; what looks as then is passed over."""
    same, racy, moved = base(1), Base(base(2).content, base(2).stat, racy=True), base(3)
    bases = [("a", same), ("b", racy), ("c/d", moved), ("e", base(4))]
    walked = [("a", same.stat), ("b", racy.stat), ("c", folder().stat), ("c/d", base(3, inode=9).stat)]
    found = differing(
        iter([(RelPath(path), stat) for path, stat in walked]), iter([(RelPath(path), each) for path, each in bases])
    )
    assert list(found) == [("b", 2), ("c", 0), ("c/d", 3), ("e", 0)]
