"""The index against a naive model of it: dictionaries, and every answer computed by looking at everything."""

import pathlib
import shutil
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace
from small_index import AUTHORS, DIGESTS, FILE, HERE, base_of

from meerkat.model.dot import Author, Dot, joined, lowered
from meerkat.model.ids import Digest, NodeId
from meerkat.model.index import Intent, Totals, dot_print
from meerkat.model.path import ROOT, RelPath, ancestors, is_below, tree_key
from meerkat.model.version import Base, Content, Entry, Kind, Siblings, Stat, Version
from meerkat.store import snapshot as snapshot_module
from meerkat.store import transaction as transaction_module
from meerkat.store.codec import representative
from meerkat.store.index import Index
from meerkat.store.snapshot import Snapshot
from meerkat.store.transaction import Transaction

COPY = RelPath("a/b.conflict-3f9a12c4")
PATHS = (COPY, *map(RelPath, ("a", "a/b", "a/b/c", "a/b d", "a b", "a.b", "a\x01", "é/x", "é/y/z")))

paths = st.sampled_from(PATHS)
authors = st.sampled_from(AUTHORS)
vectors = st.dictionaries(authors, st.integers(1, 30), max_size=4)
versions = st.one_of(
    st.builds(
        Version,
        kind=st.just(Kind.FILE),
        size=st.integers(0, 1000),
        mtime_ns=st.integers(-(2**62), 2**62 - 1),
        mode=st.integers(0, 0o777),
        digest=st.sampled_from(DIGESTS),
        recipe=st.sampled_from((Digest(b""), Digest(b"r" * 32))),
        height=st.integers(1, 3),
        weak=st.booleans(),
        hist=st.lists(st.binary(min_size=8, max_size=8), max_size=2).map(tuple),
        origin=st.sampled_from(("", NodeId("b" * 32))),
    ),
    st.builds(Version, kind=st.just(Kind.FOLDER), mode=st.just(0o755), height=st.integers(1, 3)),
    st.builds(Version, kind=st.just(Kind.SYMLINK), target=st.sampled_from(("x", "../\udcff", "é"))),
    st.builds(Version, kind=st.just(Kind.TOMBSTONE), height=st.integers(1, 3)),
)
sibling_sets = st.dictionaries(st.builds(Dot, authors, st.integers(1, 30)), versions, max_size=4)
contents = st.one_of(
    st.sampled_from(DIGESTS).map(lambda digest: Content(Kind.FILE, digest)), st.just(Content(Kind.FOLDER, b""))
)
wide = st.one_of(st.integers(0, 100), st.sampled_from((2**63 - 1, 2**63, 2**64 - 1, -(2**63) - 1)))
bases = st.builds(
    Base,
    contents,
    st.builds(Stat, st.just(Kind.FILE), st.integers(0, 1000), wide, wide, wide, st.integers(0, 0o777)),
    st.sampled_from((Digest(b""), Digest(b"r" * 32))),
    st.booleans(),
)


@dataclass
class Model:
    """What the index should hold."""

    entries: dict[RelPath, Siblings] = field(default_factory=dict)
    bases: dict[RelPath, Base] = field(default_factory=dict)
    pending: set[RelPath] = field(default_factory=set)
    context: dict[Author, int] = field(default_factory=dict)
    floor: dict[Author, int] = field(default_factory=dict)
    author: Author = AUTHORS[0]
    complete_kept: dict[Author, int] = field(default_factory=dict)

    def bare(self) -> set[RelPath]:
        return {path for path in self.pending if not self.entries.get(path)}

    def complete(self) -> dict[Author, int]:
        missing = [dot for path in self.pending for dot in self.entries.get(path, {})]
        result = lowered(self.context, sorted(missing, key=lambda dot: -dot.seq))
        if self.bare():
            result = {author: min(seq, self.complete_kept.get(author, 0)) for author, seq in result.items()}
        return {author: seq for author, seq in result.items() if seq > 0}

    def living(self, path: RelPath) -> bool:
        return any(version.living for version in self.entries.get(path, {}).values())

    def mark_above(self, path: RelPath) -> None:
        """Up to the first folder that lives by itself."""
        for above in ancestors(path):
            if any(version.kind is Kind.FOLDER for version in self.entries.get(above, {}).values()):
                break
            self.pending.add(above)

    def fingerprint(self) -> bytes:
        total = sum(
            dot_print(tree_key(path), dot)
            for path, siblings in self.entries.items()
            for dot, version in siblings.items()
            if version.living
        )
        return (total % 2**128).to_bytes(16, "big")

    def totals(self) -> Totals:
        shown = {path: representative(siblings) for path, siblings in self.entries.items()}
        living = [version for version in shown.values() if version]
        lacking = 0
        for path in self.pending:
            version, base = shown.get(path), self.bases.get(path)
            if version and (base is None or base.content != version.content):
                lacking += version.size
        folders = sum(version.kind is Kind.FOLDER for version in living)
        size = sum(version.size for version in living)
        return Totals(len(living) - folders, folders, size, len(self.pending), lacking)


Operation = Callable[[Transaction, Model], None]


def put_siblings(path: RelPath, siblings: Siblings) -> Operation:
    def act(tx: Transaction, model: Model) -> None:
        lived = model.living(path)
        tx.put_siblings(path, siblings)
        model.entries.pop(path, None)
        if siblings:
            model.entries[path] = siblings
        model.pending.add(path)
        if model.living(path) != lived:
            model.mark_above(path)

    return act


def put_new(path: RelPath, version: Version, base: Base) -> Operation:
    def act(tx: Transaction, model: Model) -> None:
        if model.entries.get(path) or path in model.bases:
            return
        dot = tx.put_new(path, version, base)
        assert dot == Dot(model.author, model.context.get(model.author, 0) + 1)
        model.context[model.author] = dot.seq
        model.entries[path] = {dot: version}
        model.bases[path] = base
        model.pending.discard(path)
        if version.living:
            model.mark_above(path)

    return act


def put_base(path: RelPath, base: Base | None) -> Operation:
    def act(tx: Transaction, model: Model) -> None:
        tx.put_base(path, base)
        model.bases.pop(path, None)
        if base:
            model.bases[path] = base

    return act


def set_pending(path: RelPath) -> Operation:
    def act(tx: Transaction, model: Model) -> None:
        tx.set_pending(path)
        model.pending.add(path)

    return act


def clear_pending(path: RelPath) -> Operation:
    def act(tx: Transaction, model: Model) -> None:
        tx.clear_pending(path)
        model.pending.discard(path)

    return act


def join_context(context: dict[Author, int], floor: dict[Author, int]) -> Operation:
    def act(tx: Transaction, model: Model) -> None:
        tx.join_context(context, floor)
        model.context = joined(model.context, context)
        model.floor = joined(model.floor, floor)

    return act


def local_write(path: RelPath, version: Version) -> Operation:
    def act(tx: Transaction, model: Model) -> None:
        seq = tx.next_seq()
        assert seq == model.context.get(model.author, 0) + 1
        assert tx.author() == model.author
        model.context[model.author] = seq
        put_siblings(path, {Dot(model.author, seq): version})(tx, model)

    return act


def renew_author(author: Author) -> Operation:
    def act(tx: Transaction, model: Model) -> None:
        tx.renew_author(author)
        model.author = author

    return act


def look_ahead(some: list[RelPath]) -> Operation:
    def act(tx: Transaction, model: Model) -> None:
        tx.look_ahead(some)
        for path in some:
            ask(path)(tx, model)

    return act


def ask(path: RelPath) -> Operation:
    """In the middle of a transaction, with rows that SQLite has not seen yet."""

    def act(tx: Transaction, model: Model) -> None:
        assert tx.siblings(path) == model.entries.get(path, {})
        assert tx.base(path) == model.bases.get(path)
        assert tx.has_living_below(path) == any(is_below(each, path) and model.living(each) for each in model.entries)
        assert tx.pending_count() == len(model.pending)

    return act


operations = st.one_of(
    st.builds(look_ahead, st.lists(paths, max_size=4)),
    st.builds(ask, paths),
    st.builds(put_siblings, paths, sibling_sets),
    st.builds(put_siblings, paths, st.just({})),
    st.builds(put_new, paths, versions, bases),
    st.builds(put_base, paths, st.none() | bases),
    st.builds(set_pending, paths),
    st.builds(clear_pending, paths),
    st.builds(join_context, vectors, vectors),
    st.builds(local_write, paths, versions),
    st.builds(renew_author, authors),
)


def in_tree_order(found: object) -> list[RelPath]:
    assert isinstance(found, set | dict | list)
    return sorted(found, key=lambda path: path.split("/"))


def check(view: Snapshot, model: Model) -> None:
    """Every answer of the view is what the model computes."""
    assert view.context() == model.context
    assert view.floor() == model.floor
    assert view.fingerprint() == model.fingerprint()
    assert view.totals() == model.totals()
    assert view.complete() == model.complete()
    assert view._tally.bare == len(model.bare())
    assert view.pending_count() == len(model.pending)
    conflicted = {p for p, s in model.entries.items() if len({v.content for v in s.values() if v.living}) > 1}
    assert view.conflicted() == in_tree_order(conflicted)
    assert view.copies() == ([Entry(COPY, model.entries[COPY])] if model.living(COPY) else [])
    pending = in_tree_order(model.pending)
    for at, path in enumerate(pending):
        assert view.pending(path, 2) == pending[at + 1 : at + 3]
    assert view.pending(ROOT, 3) == pending[:3]
    for path in (ROOT, *PATHS):
        below = [p for p in in_tree_order(model.entries) if p == path or is_below(p, path)]
        assert list(view.entries(path)) == [Entry(p, model.entries[p]) for p in below]
        assert view.has_living_below(path) == any(model.living(p) for p in below if p != path)
        based = [p for p in in_tree_order(model.bases) if p == path or is_below(p, path)]
        assert list(view.bases(path)) == [(p, model.bases[p]) for p in based]
        assert view.has_base_below(path) == any(p != path for p in based)
        if path:
            assert view.siblings(path) == model.entries.get(path, {})
            assert view.base(path) == model.bases.get(path)
    for content in (*(Content(Kind.FILE, digest) for digest in DIGESTS), Content(Kind.FOLDER, b"")):
        there = {path: base for path, base in model.bases.items() if base.content == content}
        found = view.locate_content(content)
        assert dict(found) == there if len(there) <= 8 else len(found) == 8


def check_beyond(view: Snapshot, model: Model, context: dict[Author, int]) -> None:
    """Both ways to a delta, by dot and along the tree, give the whole sibling sets that the context does not cover."""
    expected = [
        Entry(path, model.entries[path])
        for path in in_tree_order(model.entries)
        if any(context.get(dot.author, 0) < dot.seq for dot in model.entries[path])
    ]
    assert list(view.entries_beyond(context)) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_module, "INDEX_BEYOND_KEYS_MAX", 2)
        assert list(view.entries_beyond(context)) == expected


class Interrupted(Exception):
    """What a caller's own failure looks like."""


class IndexMachine(RuleBasedStateMachine):
    """Random transactions, failures, restarts and crashes."""

    @initialize()
    def begin(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.lives = 0
        self.index = Index.open(self.folder / "index.db", durable=False)
        self.model = Model()
        with self.index.write() as tx:
            tx.renew_author(self.model.author)

    @rule(work=st.lists(operations, max_size=8), fails=st.booleans(), beyond=vectors, room=st.sampled_from((1, 3, 99)))
    def transact(self, work: list[Operation], fails: bool, beyond: dict[Author, int], room: int = 99) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transaction_module, "INDEX_UNWRITTEN_ROWS_MAX", room)
            patch.setattr(transaction_module, "INDEX_AHEAD_PATHS_MAX", room)
            self._transact(work, fails, beyond)

    def _transact(self, work: list[Operation], fails: bool, beyond: dict[Author, int]) -> None:
        model = deepcopy(self.model)
        before = model.complete()
        kept = False
        try:
            with self.index.write() as tx:
                for operation in work:
                    bare = bool(model.bare())
                    operation(tx, model)
                    if model.bare() and not bare and not kept:
                        model.complete_kept, kept = before, True
                check(tx, model)
                check_beyond(tx, model, beyond)
                if fails:
                    raise Interrupted
        except Interrupted:
            return
        self.model = model

    @rule(beyond=vectors, work=st.lists(operations, min_size=1, max_size=3))
    def read_beside_a_write(self, beyond: dict[Author, int], work: list[Operation]) -> None:
        with self.index.read() as view:
            self.transact(work, True, {})
            before = self.model
            self.transact(work, False, {})
            view.look_ahead(PATHS[::2])
            check(view, before)
            check_beyond(view, before, beyond)

    @rule()
    def restart(self) -> None:
        self.index.close()
        self.index = Index.open(self.index.path, durable=False)
        assert self.index.was_clean

    @rule()
    def crash(self) -> None:
        """What the files hold at this instant is all that the next life gets."""
        self.lives += 1
        image = self.folder / f"life-{self.lives}.db"
        for end in ("", "-wal"):
            shutil.copyfile(f"{self.index.path}{end}", f"{image}{end}")
        self.index.close()
        self.index = Index.open(image, durable=False)
        assert not self.index.was_clean

    @invariant()
    def agrees(self) -> None:
        with self.index.read() as view:
            check(view, self.model)

    def teardown(self) -> None:
        self.index.close()
        shutil.rmtree(self.folder)


IndexMachine.TestCase.settings = settings(
    max_examples=50, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestIndexMachine = IndexMachine.TestCase


@pytest.mark.parametrize("keys_max", [0, 100])
def test_a_delta_begins_right_after_what_is_known(index: Index, monkeypatch: pytest.MonkeyPatch, keys_max: int) -> None:
    """A dot that the context just covers is not sent, the next one is, however the delta is found."""
    monkeypatch.setattr(snapshot_module, "INDEX_BEYOND_KEYS_MAX", keys_max)
    with index.write() as tx:
        for number in range(1, 6):
            tx.put_siblings(RelPath(f"f{number}"), {Dot(HERE, tx.next_seq()): FILE})
    with index.read() as view:
        assert [entry.path for entry in view.entries_beyond({HERE: 3})] == ["f4", "f5"]
        assert list(view.entries_beyond({HERE: 5})) == []


def test_bytes_are_behind_until_the_base_has_them(index: Index) -> None:
    """A pending path's bytes count as missing while its base has other content, whatever comes first."""
    path = RelPath("f")
    with index.write() as tx:
        tx.put_siblings(path, {Dot(HERE, tx.next_seq()): FILE})
        assert tx.totals() == Totals(1, 0, 10, 1, 10)
        tx.put_base(path, base_of(FILE))
        assert tx.totals() == Totals(1, 0, 10, 1, 0)
        tx.put_base(path, None)
        assert tx.totals() == Totals(1, 0, 10, 1, 10)
        tx.clear_pending(path)
        assert tx.totals() == Totals(1, 0, 10, 0, 0)


def test_intents_come_back_whole(index: Index) -> None:
    """An intent is returned as it was put, removal or placement, until it is cleared."""
    link = Version(Kind.SYMLINK, target="../\udcff", hist=(b"12345678",))
    intents = [
        Intent(RelPath("a"), FILE, "s1", 2**64 - 1, None),
        Intent(RelPath("a/b"), None, "s2", 0, base_of(FILE)),
        Intent(RelPath("b"), link, "s3", 7, base_of(FILE)),
    ]
    with index.write() as tx:
        for intent in intents:
            tx.put_intent(intent)
    with index.read() as view:
        assert view.intents() == intents
    with index.write() as tx:
        tx.clear_intent(RelPath("a/b"))
        assert tx.intents() == [intents[0], intents[2]]


def test_large_answers_are_whole_across_pages(index: Index) -> None:
    """A walk of many pages neither loses nor splits an entry, though its siblings may straddle two pages."""
    expected = []
    with index.write() as tx:
        for number in range(1200):
            path = RelPath(f"d{number % 7}/f{number:05}")
            siblings = {Dot(author, number + 1): FILE for author in AUTHORS[: 1 + number % 3]}
            tx.put_siblings(path, siblings)
            tx.put_base(path, base_of(FILE))
            expected.append(Entry(path, siblings))
    expected.sort(key=lambda entry: tree_key(entry.path))
    with index.read() as view:
        assert list(view.entries()) == expected
        assert list(view.entries_beyond({})) == expected
        assert [path for path, _ in view.bases()] == [entry.path for entry in expected]


def test_what_is_walked_may_be_written(index: Index) -> None:
    """Changing each entry while walking all of them visits each once."""
    with index.write() as tx:
        for number in range(1500):
            tx.put_siblings(RelPath(f"f{number:05}"), {Dot(HERE, tx.next_seq()): FILE})
    with index.write() as tx:
        visited = 0
        for entry in tx.entries():
            visited += 1
            tx.put_siblings(entry.path, {Dot(HERE, tx.next_seq()): Version(Kind.TOMBSTONE)})
        assert visited == 1500
        assert tx.fingerprint() == bytes(16)


def test_complete_never_claims_what_a_merge_brought_and_dropped(index: Index) -> None:
    """When the merge that joins a context also drops the last dot of a path, that context is not claimed until done."""
    far = AUTHORS[2]
    path = RelPath("gone")
    with index.write() as tx:
        tx.put_siblings(path, {Dot(far, 1): FILE})
        tx.join_context({far: 1}, {})
        tx.clear_pending(path)
    with index.write() as tx:
        tx.join_context({far: 5}, {far: 5})
        tx.put_siblings(path, {})
        assert tx.complete() == {far: 1}
    with index.read() as view:
        assert view.complete() == {far: 1}
    with index.write() as tx:
        tx.clear_pending(path)
        assert tx.complete() == {far: 5}


def test_a_sequence_told_by_others_is_not_given_again(index: Index) -> None:
    """When a peer knows more of our writes than we do, the next sequence lies beyond what it knows."""
    with index.write() as tx:
        assert tx.next_seq() == 1
        tx.join_context({HERE: 40}, {})
        assert tx.next_seq() == 41
        tx.renew_author(AUTHORS[1])
        assert tx.next_seq() == 1
    with index.read() as view:
        assert view.context() == {HERE: 41, AUTHORS[1]: 1}


def test_writing_needs_an_author_first(tmp_path: pathlib.Path) -> None:
    """Taking a sequence before an author was set is the caller's bug and says so."""
    index = Index.open(tmp_path / "index.db", durable=False)
    with pytest.raises(AssertionError, match="renew_author"):
        with index.write() as tx:
            tx.next_seq()
    index.close()


def test_what_was_looked_up_ahead_follows_what_is_written(index: Index) -> None:
    """Within one transaction every question about a path is answered with what was written just now."""
    folder, path = RelPath("a"), RelPath("a/b/c")
    with index.write() as tx:
        tx.look_ahead([folder, RelPath("a/b"), path])
        assert not tx.has_living_below(folder)
        tx.put_siblings(path, {Dot(HERE, tx.next_seq()): FILE})
        assert tx.has_living_below(folder)
        assert tx.has_living_below(RelPath("a/b"))
        tx.look_ahead([folder])
        assert tx.has_living_below(folder)
        tx.put_siblings(path, {Dot(HERE, tx.next_seq()): Version(Kind.TOMBSTONE)})
        assert not tx.has_living_below(folder)
        tx.put_base(path, base_of(FILE))
        assert tx.base(path) == base_of(FILE)
        assert tx.locate_content(FILE.content) == [(path, base_of(FILE))]
        tx.put_base(path, None)
        assert tx.locate_content(FILE.content) == []


def test_a_folder_that_lives_by_itself_is_not_asked_about_what_comes_into_it(index: Index) -> None:
    """It shows what it shows, whatever lives in it. Once it lives no more, what comes and goes in it decides again."""
    folder, inner, file = RelPath("f"), RelPath("f/g"), RelPath("f/g/h")
    with index.write() as tx:
        tx.put_siblings(folder, {Dot(HERE, 1): Version(Kind.FOLDER, mode=0o755)})
        tx.clear_pending(folder)
        tx.put_siblings(file, {Dot(HERE, 2): FILE})
        assert tx.pending(ROOT, 9) == [inner, file]
        tx.put_siblings(folder, {Dot(HERE, 3): Version(Kind.TOMBSTONE)})
        tx.clear_pending(folder)
        tx.put_siblings(file, {Dot(HERE, 4): Version(Kind.TOMBSTONE)})
        assert tx.pending(ROOT, 9) == [folder, inner, file]


def test_what_is_new_is_settled_at_once(index: Index) -> None:
    """It counts everywhere, and nothing waits: not even what had been marked there."""
    with index.write() as tx:
        tx.set_pending(RelPath("f"))
        dot = tx.put_new(RelPath("f"), FILE, base_of(FILE))
        assert tx.siblings(RelPath("f")) == {dot: FILE}
    with index.read() as view:
        assert view.totals() == Totals(1, 0, 10, 0, 0)
        assert view.context() == {HERE: 1}
        assert view.siblings(RelPath("f")) == {dot: FILE}
        assert view.base(RelPath("f")) == base_of(FILE)
        assert [noted.dot for noted in view.changes(None, 9)] == [dot]


def test_a_moved_folder_takes_its_bases_along(index: Index) -> None:
    """What is thereby as it should be waits no more; what has changed meanwhile, and what came new, does."""
    old, new = RelPath("old"), RelPath("new/place")
    folder, names = Version(Kind.FOLDER, mode=0o644), ("", "/a", "/b", "/b c")
    kinds = {"": folder, "/a": FILE, "/b": folder, "/b c": FILE}
    with index.write() as tx:
        for seq, name in enumerate(names, 1):
            base = replace(base_of(kinds[name]), stat=Stat(kinds[name].kind, 10, 0, 2, seq, 0o644))
            tx.put_siblings(RelPath(new + name), {Dot(HERE, 10 + seq): replace(kinds[name], mode=0o644)})
            tx.put_siblings(RelPath(old + name), {Dot(HERE, seq): Version(Kind.TOMBSTONE)})
            tx.put_base(RelPath(old + name), base)
            assert tx.moved_whole(old, new) == (seq == len(names) or name in ("", "/a", "/b"))
        assert tx.moved_from(new) == old
        tx.put_siblings(RelPath("new/place/new"), {Dot(HERE, 20): FILE})
        assert tx.moved_whole(old, new)
        tx.put_siblings(RelPath("new/place/a"), {Dot(HERE, 21): replace(FILE, digest=DIGESTS[1])})
        assert not tx.moved_whole(old, new)
        tx.move_bases(old, new)
    with index.read() as view:
        assert [path for path, _ in view.bases()] == [RelPath(new + name) for name in names]
        assert view.pending(ROOT, 9) == ["new", "new/place/a", "new/place/new"]
        assert view.totals().behind_files == 3
        assert view.totals().behind_bytes == 20


@pytest.mark.parametrize("against", ["living", "standing", "twins", "bits", "below", "held", "intent"])
def test_what_speaks_against_moving_a_folder_as_a_whole(index: Index, against: str) -> None:
    """Anything that one rename would not make as it should be."""
    old, new, old_file, new_file = map(RelPath, ("old", "new", "old/a", "new/a"))
    folder, file = Version(Kind.FOLDER, mode=0o644), replace(FILE, mode=0o644)
    with index.write() as tx:
        for path, version in ((old, folder), (old_file, file)):
            tx.put_base(path, replace(base_of(version), stat=Stat(version.kind, 10, 0, 2, 3, 0o644)))
        tx.put_siblings(new, {Dot(HERE, 1): folder})
        tx.put_siblings(new_file, {Dot(HERE, 2): file})
        assert tx.moved_whole(old, new)
        base = tx.base(old_file)
        assert base is not None
        match against:
            case "living":
                tx.put_siblings(RelPath("old/b"), {Dot(HERE, 3): file})
            case "standing":
                tx.put_base(RelPath("new/b"), base)
            case "twins":
                tx.put_siblings(new_file, {Dot(HERE, 2): file, Dot(HERE, 3): file})
            case "bits":
                tx.put_siblings(new_file, {Dot(HERE, 3): replace(file, mode=0o755)})
            case "below":
                tx.put_siblings(RelPath("new/a/b"), {Dot(HERE, 3): file})
            case "held":
                tx.open_hold([old_file], 1)
            case "intent":
                tx.put_intent(Intent(new_file, file, "name", 7, None))
        assert not tx.moved_whole(old, new)


def test_the_next_transaction_knows_what_the_last_one_left(index: Index) -> None:
    """What is known of a path is carried on from commit to commit; what was rolled back is not."""
    folder, path = RelPath("a"), RelPath("a/b")
    first, second = Dot(HERE, 1), Dot(HERE, 2)
    with index.write() as tx:
        tx.look_ahead([folder, path])
        tx.put_siblings(path, {first: FILE})
    with index.write() as tx:
        tx.look_ahead([folder, path])
        assert (tx.siblings(path), tx.base(path), tx.has_living_below(folder)) == ({first: FILE}, None, True)
        tx.put_base(path, base_of(FILE))
        tx.clear_pending(path)

    def fail() -> None:
        with index.write() as tx:
            tx.look_ahead([folder, path])
            tx.put_siblings(path, {second: Version(Kind.TOMBSTONE)})
            tx.put_base(path, None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with index.write() as tx:
        tx.look_ahead([folder, path])
        assert (tx.siblings(path), tx.base(path)) == ({first: FILE}, base_of(FILE))
        assert tx.has_living_below(folder)
        assert tx.bases_put == {}
        tx.put_siblings(path, {second: Version(Kind.TOMBSTONE)})
    with index.write() as tx:
        tx.look_ahead([folder, path])
        assert not tx.has_living_below(folder)
        assert tx.totals().behind_files == len(tx.pending(RelPath(""), 9))


def test_what_is_carried_on_is_bounded(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths dealt with last stay known."""
    monkeypatch.setattr(transaction_module, "INDEX_WARM_PATHS_MAX", 3)
    paths = [RelPath(f"f{number}") for number in range(9)]
    with index.write() as tx:
        tx.look_ahead(paths)
    assert index._warm is not None
    assert [list(known) for known in index._warm[:3]] == [[tree_key(each) for each in paths[-3:]]] * 3
