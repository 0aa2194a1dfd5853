"""Bytes that change by themselves, and bytes that somebody changes so that it does not show, on real nodes."""

import os
import random

import pytest
from e2e.pool import Node, Pool
from msgspec.structs import replace

from meerkat.disk.root import Root
from meerkat.model.path import parse_path
from meerkat.store.index import Index

pytestmark = pytest.mark.e2e

SMALL = b"sound bytes"
LARGE = random.Random(5).randbytes(3_000_000)  # several chunks


def rot(node: Node, name: str, at: int) -> bytes:
    """One byte of a stopped node's file changes, and nothing else that anybody could see. As only a bad disk does that,
    the index is told the looks that the file has now.

    Returns:
        the rotten bytes.
    """
    place = node.path(name)
    data = bytearray(place.read_bytes())
    data[at] ^= 0x20
    seen = place.stat()
    place.write_bytes(data)
    os.utime(place, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    root = Root(node.folder)
    index = Index.open(node.path(".meerkat/index.db"))
    try:
        looks = root.lstat(parse_path(name))
        assert looks is not None
        with index.write() as tx:
            base = tx.base(parse_path(name))
            assert base is not None
            tx.put_base(parse_path(name), replace(base, stat=looks, racy=False))
    finally:
        index.close()
        root.close()
    return bytes(data)


def test_rot_is_healed_and_never_spreads(pool: Pool) -> None:
    """What has rotted at one node is no edit, reaches nobody, and is healed from another: by scrub, or when somebody
    asks for it; where nobody has sound bytes, it is told and left."""
    one = pool.start("one")
    two = pool.join("two", one)
    one.path("small").write_bytes(SMALL)
    one.path("large").write_bytes(LARGE)
    one.path("lonely").write_bytes(SMALL + b" of one")
    pool.wait_equal()
    before = pool.ask("history", two, "small")
    pool.stop(two)
    for name in ("small", "large", "lonely"):
        rot(two, name, len(two.path(name).read_bytes()) // 2)
    pool.stop(one)
    rotten = rot(one, "lonely", len(SMALL + b" of one") // 2)
    pool.restart(two)
    pool.ask("scan", two)
    said = pool.cli("scrub", two)
    assert said.exit == 7
    assert {(each["path"], each["healed"]) for each in said.out["rotten"]} == {
        ("small", False),
        ("large", False),
        ("lonely", False),
    }
    assert two.path("lonely").read_bytes() == rotten, "rotten, but all that there is"
    three = pool.join("three", two)  # finds nobody with sound bytes, and takes no others
    pool.until("it is told", lambda: pool.status(two)["problems"])
    assert not three.path("small").exists()
    assert not three.path("large").exists()
    pool.restart(one)
    pool.until("healed", lambda: two.path("large").read_bytes() == LARGE and two.path("small").read_bytes() == SMALL)
    tree = pool.wait_equal(one, two)
    assert sorted(map(str, tree)) == ["large", "lonely", "small"], "no copy, no new version"
    pool.until("sound", lambda: three.path("large").exists() and three.path("small").exists())
    assert (three.path("large").read_bytes(), three.path("small").read_bytes()) == (LARGE, SMALL)
    assert not three.path("lonely").exists()
    assert two.path("lonely").read_bytes() == rotten
    assert pool.ask("history", two, "small") == before
    assert [each["path"] for each in pool.cli("scrub", two).out["rotten"]] == ["lonely"]
    problems = [each["path"] for each in pool.status(two)["problems"] if each["node"] == two.id]
    assert problems == ["lonely"]
    assert "lonely" in str(pool.status(three))


def test_rot_is_found_by_whoever_asks(pool: Pool) -> None:
    """A newcomer that asks gets no rotten bytes; the node that could not give them knows, and heals itself from whoever
    has sound ones as soon as it is there."""
    one = pool.start("one")
    two = pool.join("two", one)
    one.path("large").write_bytes(LARGE)
    pool.wait_equal()
    pool.stop(two)
    rot(two, "large", 1_000_000)
    pool.restart(two)
    pool.wait_linked(one, two)
    pool.stop(one)
    three = pool.join("three", two)
    pool.until("two knows of its rot", lambda: "large" in [each["path"] for each in pool.status(two)["problems"]])
    assert not three.path("large").exists()
    pool.restart(one)
    pool.until("it has come", lambda: three.path("large").exists())
    assert three.path("large").read_bytes() == LARGE
    pool.until("healed without being told to", lambda: two.path("large").read_bytes() == LARGE)
    pool.wait_equal()


@pytest.mark.parametrize("running", [True, False])
def test_a_stealth_edit_is_an_edit(pool: Pool, running: bool) -> None:
    """Bytes changed in place, with size and time of writing put back, are found by the time that nobody can set: at
    once by the watch, or by the scan at the start; they travel, and what they replace is in the trash."""
    one = pool.start("one")
    two = pool.join("two", one)
    one.path("doc").write_bytes(SMALL)
    pool.wait_equal()
    pool.wait_settled()
    if not running:
        pool.stop(two)
    place = two.path("doc")
    seen = place.stat()
    with place.open("r+b") as file:
        file.write(SMALL.upper())
    os.utime(place, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert (place.stat().st_size, place.stat().st_mtime_ns) == (seen.st_size, seen.st_mtime_ns)
    if not running:
        pool.restart(two)
    pool.until("it has travelled", lambda: one.path("doc").read_bytes() == SMALL.upper())
    assert pool.ask("scrub", two)["rotten"] == []
    assert sorted(map(str, pool.wait_equal())) == ["doc"]
    pool.ask("restore", one, "doc")
    pool.wait_equal()
    assert two.path("doc").read_bytes() == SMALL
