"""The index's transactions over a real index: each takes a whole decision, and what waits is always known."""

from collections.abc import Iterator

import msgspec
import pytest
from blake3 import blake3

from meerkat.core.merge import mark
from meerkat.core.plan import KeepLoser, Place, Remove, Retouch, Settled
from meerkat.core.resolve import copy_path
from meerkat.disk.scan import Sight
from meerkat.model.dot import Author, Dot, Vector, knows
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import ROOT, RelPath
from meerkat.model.recipe import Chunk, Recipe
from meerkat.model.version import FOLDER, Base, Content, Entry, Kind, Siblings, Stat, Version
from meerkat.node import ledger
from meerkat.store.index import Index
from meerkat.store.transaction import Transaction

ME, ZOE, YAN = (Author(NodeId(letter * 32), 1) for letter in "mzy")
F, G, D = RelPath("f"), RelPath("g"), RelPath("d")


@pytest.fixture
def index() -> Iterator[Index]:
    held = Index.in_memory()
    with held.write() as tx:
        tx.renew_author(ME)
    yield held
    held.close()


@pytest.fixture
def tx(index: Index) -> Iterator[Transaction]:
    with index.write() as tx:
        yield tx


def base(text: str, mtime_ns: int = 7) -> Base:
    content = Content(Kind.FILE, blake3(text.encode()).digest())
    return Base(content, Stat(Kind.FILE, len(text), mtime_ns, 1, 2, 0o644))


def folder() -> Base:
    return Base(FOLDER, Stat(Kind.FOLDER, 0, 0, 1, 2, 0o755))


def file(text: str, *, height: int = 1, weak: bool = False, hist: tuple[bytes, ...] = ()) -> Version:
    shown = base(text)
    digest = Digest(shown.content.ident)
    size = shown.stat.size
    return Version(Kind.FILE, size, 7, 0o644, digest, height=height, weak=weak, hist=hist)


GONE = Version(Kind.TOMBSTONE)


def saw(tx: Transaction, path: RelPath, have: Base | None, *, adopting: bool = False) -> list[RelPath]:
    return ledger.record(tx, [Sight(path, have)], adopting=adopting)


def told(tx: Transaction, path: RelPath, siblings: Siblings, context: Vector | None = None) -> list[RelPath]:
    """A member says this, by a delta."""
    known = {dot.author: dot.seq for dot in siblings} if context is None else context
    return ledger.merge_entries(tx, [Entry(path, siblings)], known, {}, dots_allowed=True)


def contents(tx: Transaction, path: RelPath) -> set[Content]:
    return {version.content for version in tx.siblings(path).values()}


def step(tx: Transaction, path: RelPath) -> object:
    return ledger.job_at(tx, path).step


# ---- outward


def test_a_write_has_a_dot_that_is_known_at_once(tx: Transaction) -> None:
    """The dot is this node's next one, the context covers it, and nothing is left to do."""
    assert saw(tx, F, base("one")) == [F]
    ((dot, version),) = tx.siblings(F).items()
    assert (dot, version.content, version.weak) == (Dot(ME, 1), base("one").content, False)
    assert knows(tx.context(), dot)
    assert tx.base(F) == base("one")
    assert tx.pending_count() == 0


def test_a_chain_of_edits_leaves_one_sibling(tx: Transaction) -> None:
    """Each write replaces the one before, stands above it and names it as superseded."""
    for text in ("one", "two", "three"):
        saw(tx, F, base(text))
    ((dot, version),) = tx.siblings(F).items()
    assert (dot.seq, version.height) == (3, 3)
    assert version.hist == (mark(base("one").content), mark(base("two").content))


def test_a_deletion_is_a_tombstone(tx: Transaction) -> None:
    """It stays, with what it superseded; the base is empty and nothing is to be done."""
    saw(tx, F, base("one"))
    assert saw(tx, F, None) == [F]
    ((_, version),) = tx.siblings(F).items()
    assert (version.kind, version.hist) == (Kind.TOMBSTONE, (mark(base("one").content),))
    assert tx.base(F) is None
    assert tx.pending_count() == 0


def test_agreement_writes_nothing(tx: Transaction) -> None:
    """The same content brought here by hand: the base is noted, the sender's dot is left alone."""
    theirs: Siblings = {Dot(ZOE, 1): file("one")}
    told(tx, F, theirs)
    assert saw(tx, F, base("one")) == []
    assert tx.siblings(F) == theirs
    assert tx.pending_count() == 0


def test_a_look_that_saw_nothing_new_writes_nothing(tx: Transaction) -> None:
    """Neither `same` nor a mere change of inode is news."""
    saw(tx, F, base("one"))
    assert ledger.record(tx, [Sight(F, base("one"), same=True)]) == []
    moved = Base(base("one").content, base("one").stat._replace(inode=99))
    assert saw(tx, F, moved) == []
    assert tx.base(F) == moved


def test_an_edit_leaves_what_was_only_heard_of(tx: Transaction) -> None:
    """The person did not see the other's edit, so it stays beside theirs, and a conflict is to be dealt with."""
    saw(tx, F, base("one"))
    told(tx, F, {Dot(ZOE, 1): file("two", height=2)}, {ZOE: 1, ME: 1})
    saw(tx, F, base("three"))
    assert contents(tx, F) == {base("two").content, base("three").content}
    assert tx.pending(ROOT, 9) == [F]


def test_a_recipe_comes_with_its_file(tx: Transaction) -> None:
    """What a large file consists of can be served from now on."""
    parts = [Chunk(Digest(bytes([number]) * 32), number * 10, 10) for number in range(3)]
    recipe = Recipe(tuple(parts))
    named = msgspec.structs.replace(base("large"), recipe=Digest(blake3(recipe.pack()).digest()))
    ledger.record(tx, [Sight(F, named, recipe)])
    assert tx.recipe(named.recipe) == recipe.pack()
    assert [place.path for place in tx.locate_chunk(parts[1].digest)] == [F]


def test_a_copy_put_there_unrecorded_is_weak(tx: Transaction) -> None:
    """A file with the very name and content of a conflict copy is one, whoever put it there; edited, it is not."""
    copy = copy_path(F, base("one").content)
    saw(tx, copy, base("one"))
    saw(tx, copy_path(G, base("one").content), base("edited"))
    assert [version.weak for version in tx.siblings(copy).values()] == [True]
    assert [version.weak for version in tx.siblings(copy_path(G, base("one").content)).values()] == [False]


def test_a_folder_that_goes_takes_its_contents_along(tx: Transaction) -> None:
    """Looked at in tree order, the folder's tombstone comes first; in the end nothing is implied and nothing waits."""
    ledger.record(tx, [Sight(D, folder()), Sight(RelPath("d/x"), base("one"))])
    ledger.record(tx, [Sight(D, None), Sight(RelPath("d/x"), None)])
    ledger.settle(tx, tx.pending(ROOT, 9), drop=lambda path: False)
    assert tx.pending_count() == 0
    assert not tx.has_living_below(D)


def test_adopting_notes_and_adds_but_never_deletes(tx: Transaction) -> None:
    """Known content is noted, unknown content stands weakly beside, what an older index misses comes back."""
    tx.put_meta("recovering", b"older")
    told(tx, F, {Dot(ZOE, 1): file("new", hist=(mark(base("old").content),))})
    told(tx, G, {Dot(ZOE, 2): file("theirs")}, {ZOE: 2})
    assert saw(tx, F, base("old"), adopting=True) == []
    assert saw(tx, G, base("mine"), adopting=True) == [G]
    assert isinstance(step(tx, F), Place)
    mine = {version.content: version.weak for version in tx.siblings(G).values()}
    assert mine == {base("theirs").content: False, base("mine").content: True}
    tx.put_base(G, base("theirs"))
    assert saw(tx, G, None, adopting=True) == []
    assert tx.base(G) is None


def test_what_was_adopted_and_deleted_before_the_adoption_ended_is_deleted(tx: Transaction) -> None:
    """An index that began empty knows the file from this disk alone: nobody else may ever have had its bytes."""
    tx.put_meta("recovering", b"lost")
    assert saw(tx, F, base("mine"), adopting=True) == [F]
    assert saw(tx, F, None, adopting=True) == []
    assert tx.base(F) == base("mine")
    assert saw(tx, F, None) == [F]
    assert not any(version.living for version in tx.siblings(F).values())
    assert tx.base(F) is None


def test_which_bases_lie_below(tx: Transaction) -> None:
    """The folder itself and everything in it, for a look when it has gone."""
    for path in (D, RelPath("d/x"), RelPath("d/x/y"), RelPath("dd")):
        tx.put_base(path, folder())
    assert ledger.forget_bases_below(tx, D) == [D, RelPath("d/x"), RelPath("d/x/y")]


# ---- inward


def test_a_delta_is_merged_and_waits(tx: Transaction) -> None:
    """What is news is returned and pending; hearing it again is none."""
    assert told(tx, F, {Dot(ZOE, 1): file("one")}) == [F]
    assert told(tx, F, {Dot(ZOE, 1): file("one")}) == []
    assert tx.context() == {ZOE: 1}
    assert tx.pending(ROOT, 9) == [F]


def test_a_delta_below_the_floor_is_refused(tx: Transaction) -> None:
    """Nothing of it is taken, neither entries nor vectors."""
    entry = Entry(F, {Dot(ZOE, 3): file("one")})
    with pytest.raises(ledger.NeedFull):
        ledger.merge_entries(tx, [entry], {ZOE: 3}, {ZOE: 2}, dots_allowed=True)
    assert tx.siblings(F) == {}
    assert tx.context() == {}


def test_floors_travel_with_deltas(tx: Transaction) -> None:
    """Whoever pulls from this node has to have heard of what was forgotten elsewhere, too."""
    told(tx, F, {}, {ZOE: 5})
    ledger.merge_entries(tx, [], {ZOE: 5}, {ZOE: 4}, dots_allowed=True)
    assert tx.floor() == {ZOE: 4}


def test_what_a_whole_index_lacks_counts(tx: Transaction) -> None:
    """What the sender knows and has no more goes, wherever it stands; what it never heard of stays."""
    for number, name in enumerate(("a", "b", "c", "d", "e"), 1):
        told(tx, RelPath(name), {Dot(ZOE, number): file(name)}, {ZOE: number})
    saw(tx, RelPath("b2"), base("mine"))
    theirs = [Entry(RelPath("b"), {Dot(ZOE, 2): file("b")}), Entry(RelPath("d"), {Dot(YAN, 1): GONE})]
    changed = ledger.merge_everything(tx, iter(theirs), {ZOE: 5, YAN: 1}, {ZOE: 3}, dots_allowed=True)
    assert changed == [RelPath(name) for name in "acde"]
    assert [entry.path for entry in tx.entries()] == [RelPath("b"), RelPath("b2"), RelPath("d")]
    assert (tx.context(), tx.floor()) == ({ZOE: 5, YAN: 1, ME: 1}, {ZOE: 3})


def test_a_weak_sibling_is_retracted_when_news_supersede_it(tx: Transaction) -> None:
    """In the same transaction, by a tombstone of this node."""
    saw(tx, F, base("old"), adopting=True)
    news = Entry(F, {Dot(ZOE, 1): file("new", hist=(mark(base("old").content),))})
    ledger.merge_entries(tx, [news], {ZOE: 1}, {}, dots_allowed=True)
    assert {version.content for version in tx.siblings(F).values() if version.living} == {base("new").content}
    assert knows(tx.context(), Dot(ME, 2))


def test_no_dots_no_retraction(tx: Transaction) -> None:
    """A node that may not write yet leaves it to the end of its recovery, or to others."""
    saw(tx, F, base("old"), adopting=True)
    news = Entry(F, {Dot(ZOE, 1): file("new", hist=(mark(base("old").content),))})
    ledger.merge_entries(tx, [news], {ZOE: 1}, {}, dots_allowed=False)
    assert contents(tx, F) == {base("old").content, base("new").content}
    ledger.retract(tx, F)
    assert {version.content for version in tx.siblings(F).values() if version.living} == {base("new").content}


def test_a_recovery_ends_with_retracting(tx: Transaction) -> None:
    """R6, R11: an older index holds a weak version, the pool's whole index supersedes it: it does not come back."""
    saw(tx, F, base("old"), adopting=True)
    theirs = [Entry(F, {Dot(ZOE, 1): file("new", hist=(mark(base("old").content),))})]
    ledger.merge_everything(tx, iter(theirs), {ZOE: 1}, {}, dots_allowed=True)
    assert {version.content for version in tx.siblings(F).values() if version.living} == {base("new").content}


def test_what_a_person_wrote_is_not_retracted(tx: Transaction) -> None:
    """Though it was superseded elsewhere, they wrote it again without having seen that."""
    saw(tx, F, base("old"))
    told(tx, F, {Dot(ZOE, 1): file("new", hist=(mark(base("old").content),))}, {ZOE: 1})
    assert contents(tx, F) == {base("old").content, base("new").content}


def test_outrun(tx: Transaction) -> None:
    """R12: when somebody knows more of this life than this node, it goes on as another before it writes anything."""
    saw(tx, F, base("one"))
    spare = Author(ME.node, 2)
    assert not ledger.renew_if_outrun(tx, {ME: 1, ZOE: 9}, spare)
    assert tx.author() == ME
    assert ledger.renew_if_outrun(tx, {ME: 2}, spare)
    saw(tx, F, base("two"))
    assert list(tx.siblings(F)) == [Dot(spare, 1)]


# ---- what waits


def test_what_is_pending_comes_in_the_order_of_the_tree(tx: Transaction) -> None:
    """A folder before its contents; a page at a time; each with its step."""
    paths = [D, RelPath("d/x"), F]
    told(tx, D, {Dot(ZOE, 1): Version(Kind.FOLDER, mode=0o755)}, {ZOE: 1})
    told(tx, RelPath("d/x"), {Dot(ZOE, 2): file("one")}, {ZOE: 2})
    told(tx, F, {Dot(ZOE, 3): file("two")}, {ZOE: 3})
    assert [job.path for job in ledger.jobs_at(tx, tx.pending(ROOT, 9))] == paths
    assert [job.path for job in ledger.jobs_at(tx, tx.pending(D, 1))] == [RelPath("d/x")]


def test_settling_strikes_only_what_is_settled(tx: Transaction) -> None:
    """What has become due again meanwhile stays; what is ignored here goes."""
    told(tx, F, {Dot(ZOE, 1): file("one")}, {ZOE: 1})
    told(tx, G, {Dot(ZOE, 2): file("two")}, {ZOE: 2})
    ledger.settle(tx, [F, G], drop=lambda path: path == G)
    assert tx.pending(ROOT, 9) == [F]
    tx.put_base(F, base("one"))
    ledger.settle(tx, [F], drop=lambda path: False)
    assert tx.pending_count() == 0


def test_pending_can_be_derived_from_nothing(tx: Transaction) -> None:
    """Index and bases alone tell what waits, also where the set had been lost."""
    told(tx, F, {Dot(ZOE, 1): file("one")}, {ZOE: 1})
    saw(tx, G, base("two"))
    tx.clear_pending(F)
    tx.set_pending(G)
    ledger.derive_pending(tx)
    assert tx.pending(ROOT, 9) == [F]


def test_a_placed_version_is_no_news(tx: Transaction) -> None:
    """Putting down what the pool has gives no dot; the intent is struck and nothing waits."""
    told(tx, F, {Dot(ZOE, 1): file("one")}, {ZOE: 1})
    before = tx.siblings(F)
    ledger.record_placed(tx, [(F, base("one"))])
    assert (tx.siblings(F), tx.intents(), tx.pending_count()) == (before, [], 0)


def test_a_placed_version_that_was_overtaken_waits_again(tx: Transaction) -> None:
    """News came between the decision and the record."""
    told(tx, F, {Dot(ZOE, 2): file("two")}, {ZOE: 2})
    ledger.record_placed(tx, [(F, base("one"))])
    assert isinstance(step(tx, F), Place)
    assert tx.pending(ROOT, 9) == [F]


def test_bits_that_the_disk_cannot_hold_do_not_wait(tx: Transaction) -> None:
    """A retouch that could not be exact is done; a version that came meanwhile is not."""
    told(tx, F, {Dot(ZOE, 1): file("one")}, {ZOE: 1})
    wanted = file("one")
    ledger.record_retouched(tx, [(F, base("one", mtime_ns=6), wanted)])
    assert tx.pending_count() == 0
    told(tx, F, {Dot(ZOE, 2): msgspec.structs.replace(wanted, mode=0o600)}, {ZOE: 2})
    ledger.record_retouched(tx, [(F, base("one", mtime_ns=6), wanted)])
    assert isinstance(step(tx, F), Retouch)
    assert tx.pending(ROOT, 9) == [F]


def test_what_is_kept_on_purpose_does_not_wait(tx: Transaction) -> None:
    """Only while it is a removal that waits."""
    told(tx, F, {Dot(ZOE, 1): GONE}, {ZOE: 1})
    tx.put_base(F, base("one"))
    tx.set_pending(F)
    assert step(tx, F) == Remove()
    ledger.let_stay(tx, F)
    assert tx.pending_count() == 0
    told(tx, F, {Dot(ZOE, 2): file("two")}, {ZOE: 2})
    ledger.let_stay(tx, F)
    assert tx.pending(ROOT, 9) == [F]


# ---- losers


def conflict(tx: Transaction) -> tuple[str, str, RelPath]:
    """Zoe and yan wrote the path, unseen by each other: winner, loser, the copy's name."""
    loser, winner = sorted(("one", "two"), key=lambda text: base(text).content.ident)
    told(tx, F, {Dot(ZOE, 1): file(winner)}, {ZOE: 1})
    told(tx, F, {Dot(YAN, 1): file(loser, height=1)}, {YAN: 1})
    found = step(tx, F)
    tx.put_base(F, base(loser))
    found = step(tx, F)
    assert isinstance(found, KeepLoser)
    assert found.loser.content == base(loser).content
    return winner, loser, found.copy


def test_a_loser_is_kept_in_one_transaction(tx: Transaction) -> None:
    """A weak copy that tells whose it was, a tombstone that replaces only the loser: the winner is alone."""
    winner, loser, copy = conflict(tx)
    assert ledger.keep_loser(tx, F, base(loser).content, copy, base(loser))
    ((_, kept),) = tx.siblings(copy).items()
    assert (kept.content, kept.weak, kept.height, kept.origin) == (base(loser).content, True, 1, YAN.node)
    assert {v.content for v in tx.siblings(F).values() if v.living} == {base(winner).content}
    assert mark(base(loser).content) in next(v for v in tx.siblings(F).values() if not v.living).hist
    assert (step(tx, copy), tx.base(copy)) == (Settled(), base(loser))
    assert isinstance(step(tx, F), Place)


def test_a_copy_that_lives_already_is_not_written_again(tx: Transaction) -> None:
    """Its dots stay as they were; the loser goes all the same."""
    _, loser, copy = conflict(tx)
    told(tx, copy, {Dot(YAN, 2): file(loser, weak=True)}, {YAN: 2})
    assert ledger.keep_loser(tx, F, base(loser).content, copy, None)
    assert list(tx.siblings(copy)) == [Dot(YAN, 2)]
    assert base(loser).content not in contents(tx, F)


def test_a_copy_that_was_edited_is_not_made_again(tx: Transaction) -> None:
    """Whoever edited the copy saw these bytes."""
    _, loser, copy = conflict(tx)
    told(tx, copy, {Dot(YAN, 2): file("edit", hist=(mark(base(loser).content),))}, {YAN: 2})
    assert ledger.keep_loser(tx, F, base(loser).content, copy, None)
    assert contents(tx, copy) == {base("edit").content}


def test_a_copy_takes_the_place_of_a_deleted_one(tx: Transaction) -> None:
    """An older copy of that name was deleted; this loser was written without having seen that."""
    _, loser, copy = conflict(tx)
    told(tx, copy, {Dot(YAN, 2): GONE}, {YAN: 2})
    assert ledger.keep_loser(tx, F, base(loser).content, copy, base(loser))
    assert contents(tx, copy) == {base(loser).content}


def test_without_bytes_nothing_is_dropped(tx: Transaction) -> None:
    """The copy that somebody saw has gone since: the loser stays until its bytes stand."""
    _, loser, copy = conflict(tx)
    before = tx.siblings(F)
    assert not ledger.keep_loser(tx, F, base(loser).content, copy, None)
    assert (tx.siblings(F), tx.siblings(copy)) == (before, {})


def test_a_loser_that_has_become_the_winner_stays(tx: Transaction) -> None:
    """R7: the winner was deleted while the copy was made: no tombstone takes the file away that nobody deleted."""
    _, loser, copy = conflict(tx)
    told(tx, F, {Dot(ZOE, 2): GONE}, {ZOE: 2})
    assert not ledger.keep_loser(tx, F, base(loser).content, copy, base(loser))
    assert base(loser).content in contents(tx, F)
    assert tx.siblings(copy) == {}
    assert step(tx, copy) == Remove(), "what was put there for nothing goes again"
    assert copy in tx.pending(ROOT, 9)


def test_a_crash_leaves_a_whole_decision_or_none(index: Index) -> None:
    """What fails half-way has given no dot, no copy and no tombstone."""
    with index.write() as tx:
        _, loser, copy = conflict(tx)

    def fail() -> None:
        with index.write() as tx:
            assert ledger.keep_loser(tx, F, base(loser).content, copy, base(loser))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with index.read() as view:
        assert view.siblings(copy) == {}
        assert view.base(copy) is None
        assert len(view.siblings(F)) == 2
        assert ME not in view.context()


@pytest.mark.parametrize("whole", [False, True], ids=["a delta", "everything"])
@pytest.mark.parametrize("author", [ME, ZOE], ids=["our own", "another's"])
def test_two_contents_under_one_dot_are_both_kept(tx: Transaction, author: Author, whole: bool) -> None:
    """Both go on under dots of their own, which replace the doubtful one; a doubled life of our own is over."""
    dot = Dot(author, 1)
    told(tx, F, {dot: file("here")}, {author: 1})
    tx.renew_author(ME)
    other = {dot: file("there")}
    theirs: Vector = {author: 1, YAN: 1}
    entries = [Entry(F, other)]
    if whole:
        changed = ledger.merge_everything(tx, iter(entries), theirs, {}, dots_allowed=True)
    else:
        changed = ledger.merge_entries(tx, entries, theirs, {}, dots_allowed=True)
    assert changed == [F]
    assert contents(tx, F) == {base("here").content, base("there").content}
    assert dot not in tx.siblings(F)
    assert all(each.author == tx.author() for each in tx.siblings(F))
    assert (tx.author() != ME) == (author == ME)


def test_no_dots_for_a_doubtful_one_while_recovering(tx: Transaction) -> None:
    """While this node learns its index anew it gives no dots; its disk is compared afterwards anyway."""
    dot = Dot(ZOE, 1)
    told(tx, F, {dot: file("here")}, {ZOE: 1})
    ledger.merge_entries(tx, [Entry(F, {dot: file("there")})], {ZOE: 1}, {}, dots_allowed=False)
    assert tx.siblings(F).keys() == {dot}
