"""Recipes, chunks, small values and parts of long pulls are kept as long as something refers to them."""

from small_index import AUTHORS, DIGESTS, FILE, HERE, base_of

from meerkat.model.dot import Dot
from meerkat.model.ids import Digest
from meerkat.model.index import Totals
from meerkat.model.path import RelPath
from meerkat.model.recipe import Chunk
from meerkat.model.version import Entry, Kind, Version
from meerkat.store.index import Index


def test_chunks_are_found_where_a_base_holds_them(index: Index) -> None:
    """A chunk is located inside the files of this disk whose content has it, and as a whole file."""
    big = Version(Kind.FILE, size=30, digest=DIGESTS[1], recipe=Digest(b"r" * 32))
    chunks = (Chunk(DIGESTS[0], 0, 10), Chunk(DIGESTS[2], 10, 20))
    with index.write() as tx:
        tx.put_chunks(big.digest, chunks)
        assert tx.locate_chunk(DIGESTS[2]) == []
        tx.put_base(RelPath("big"), base_of(big))
        tx.put_base(RelPath("small"), base_of(FILE))
    with index.read() as view:
        assert [(f.path, f.offset, f.length) for f in view.locate_chunk(DIGESTS[2])] == [("big", 10, 20)]
        assert [(f.path, f.offset, f.length) for f in view.locate_chunk(DIGESTS[0])] == [
            ("small", 0, 10),
            ("big", 0, 10),
        ]


def test_pruning_forgets_only_what_nothing_refers_to(index: Index) -> None:
    """Chunk lists and recipes stay while an entry or a base has their content and go when neither does."""
    big = Version(Kind.FILE, size=30, digest=DIGESTS[1], recipe=Digest(b"r" * 32))
    with index.write() as tx:
        tx.note_changes = False
        tx.put_chunks(big.digest, (Chunk(DIGESTS[0], 0, 10), Chunk(DIGESTS[2], 10, 20)))
        tx.put_recipe(big.recipe, b"packed")
        tx.put_siblings(RelPath("big"), {Dot(HERE, tx.next_seq()): big})
        assert tx.prune_contents(10) == 0
        tx.put_base(RelPath("big"), base_of(big))
        tx.put_siblings(RelPath("big"), {})
        assert tx.prune_contents(10) == 0
        assert tx.recipe(big.recipe) == b"packed"
        assert len(tx.locate_chunk(DIGESTS[2])) == 1
        tx.put_base(RelPath("big"), None)
        assert tx.prune_contents(10) == 2
        assert tx.recipe(big.recipe) is None
        assert tx.prune_contents(10) == 0
        tx.put_base(RelPath("big"), base_of(big))
        assert tx.locate_chunk(DIGESTS[2]) == []


def test_parts_of_a_pull_are_kept_where_nothing_reads_them(index: Index) -> None:
    """What is put aside comes back in order and by pull, survives a restart, and is not an entry, total or vector."""
    first = Entry(RelPath("b"), {Dot(AUTHORS[1], 1): FILE, Dot(AUTHORS[2], 5): Version(Kind.TOMBSTONE)})
    second = Entry(RelPath("c"), {Dot(AUTHORS[1], 2): FILE})
    other = Entry(RelPath("a"), {Dot(AUTHORS[1], 9): FILE})
    with index.write() as tx:
        tx.put_aside(7, (first,))
        tx.put_aside(8, (other,))
    with index.write() as tx:
        tx.put_aside(7, (second,))
    index.close()
    index = Index.open(index.path, durable=False)
    with index.write() as tx:
        assert list(tx.aside(7)) == [first, second]
        assert list(tx.aside(8)) == [other]
        assert list(tx.entries()) == []
        assert tx.context() == {}
        assert tx.totals() == Totals(0, 0, 0, 0, 0)
        for entry in tx.aside(7):
            tx.put_siblings(entry.path, entry.siblings)
        tx.drop_aside(7)
        assert list(tx.aside(7)) == []
        assert list(tx.aside(8)) == [other]
        tx.drop_aside(None)
        assert list(tx.aside(8)) == []
        assert list(tx.entries()) == [first, second]


def test_meta_keeps_small_values(index: Index) -> None:
    """A value is returned as put, replaced by the next, and absent before the first."""
    with index.write() as tx:
        assert tx.meta("witness") is None
        tx.put_meta("witness", b"\0one")
        tx.put_meta("witness", b"two")
    with index.read() as view:
        assert view.meta("witness") == b"two"
