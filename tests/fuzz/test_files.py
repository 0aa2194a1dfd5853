"""Files of the node's own that were damaged: read, refused in words, or set aside; never a crash, never a lie."""

import json
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meerkat.disk.root import Root
from meerkat.disk.trash import Trash
from meerkat.model.dot import Author, Dot
from meerkat.model.fault import Fault
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import Base, Kind, Stat, Version
from meerkat.node.home import open_home
from meerkat.store.errors import IndexDamaged, IndexTooNew, IndexUnavailable
from meerkat.store.index import Index

HERE = Author(NodeId("a" * 32), 1)
FILES = 300


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with its WAL, as a node that was cut off leaves it."""
    folder, made = tmp_path_factory.mktemp("sound"), tmp_path_factory.mktemp("made")
    index = Index.open(made / "index.db", durable=False)
    with index.write() as tx:
        tx.renew_author(HERE)
    for turn in range(3):
        with index.write() as tx:
            for number in range(FILES):
                version = Version(Kind.FILE, number, 0, 0o644, Digest(bytes([turn + 1]) * 32))
                path = RelPath(f"d{number % 7}/f{number}")
                tx.put_siblings(path, {Dot(HERE, tx.next_seq()): version})
                tx.put_base(path, Base(version.content, Stat(Kind.FILE, number, 1, 2, 3, 0o644)))
    for each in made.iterdir():
        shutil.copy(each, folder)  # the WAL too, before it is copied home
    index.close()
    assert (folder / "index.db-wal").exists()
    return folder


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_index_is_damaged_or_right(sound: Path, tmp_path: Path, seed: int) -> None:
    """Bytes flipped, pages zeroed, ends cut off, in the database or its WAL: opening and reading give what was written
    or one of the index's own faults."""
    dice = random.Random(seed)
    for each in sound.iterdir():
        if not each.name.endswith("-shm"):
            shutil.copy(each, tmp_path)
    victim = tmp_path / dice.choice(["index.db", "index.db-wal"])
    data = bytearray(victim.read_bytes())
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(data))
        match dice.randrange(4):
            case 0:
                data[at] ^= 1 << dice.randrange(8)
            case 1:
                data[at : at + 4096] = bytes(len(data[at : at + 4096]))
            case 2:
                data[at : at + 64] = dice.randbytes(len(data[at : at + 64]))
            case _:
                del data[max(at, 1) :]
    victim.write_bytes(data)
    try:
        index = Index.open(tmp_path / "index.db", durable=False)
    except (IndexDamaged, IndexTooNew, IndexUnavailable):
        return
    try:
        with index.read() as view:
            context = view.context()
            entries = list(view.entries())
            list(view.bases())
            view.totals()
        with index.write() as tx:
            tx.renew_author(Author(HERE.node, 2))  # as every start on an index that the witness does not know
            tx.put_siblings(RelPath("fresh"), {Dot(HERE, tx.next_seq()): Version(Kind.FOLDER, mode=0o755)})
    except (IndexDamaged, IndexUnavailable):
        return
    finally:
        index.close()
    assert context.get(HERE, 0) <= 3 * FILES
    for entry in entries:
        for dot in entry.siblings:
            assert context.get(dot.author, 0) >= dot.seq, "an index claims a write that its context does not cover"


_NOTES = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["path", "kind", "digest", "target", "size", "mtime_ns", "trashed_at", "x"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(notes=st.lists(_NOTES, min_size=1, max_size=4))
def test_notes_of_the_trash(tmp_path_factory: pytest.TempPathFactory, notes: list[bytes]) -> None:
    """Whatever stands in a note, the bytes beside it are listed, and nothing raises."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / ".meerkat").mkdir()
    root = Root(folder)
    trash = Trash(root)
    day = folder / ".meerkat" / "trash" / "2026-05-04"
    day.mkdir()
    for number, note in enumerate(notes):
        name = f"{number:012x}-kept"
        (day / name).write_bytes(b"bytes")
        (day / f"{name}.json").write_bytes(note)
    try:
        kept = list(trash.entries())
        assert len(kept) == len(notes)
        trash.find(bytes(32))
        assert all(trash.read(each.id, 0, 5) == b"bytes" for each in kept)
        trash.prune(2e9, 1e12, 1 << 40)
    finally:
        trash.close()
        root.close()


_TOML = st.lists(
    st.sampled_from(
        [
            'name = "ada"',
            "name = 3",
            'pool = "x"',
            "advertise = []",
            'advertise = ["a:1", 2]',
            "since = 2026-01-01",
            "at = 2026-01-01T00:00:00Z",
            "[table]",
            "x = { a = 1 }",
            "rate = nan",
            "deep = [[1], [2]]",
            'listen = "127.0.0.1:0"',
            "\x00",
        ]
    )
    | st.text(max_size=20),
    max_size=5,
).map("\n".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_TOML)
def test_configurations(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """What a person wrote into `node.toml` is taken or refused in words; what is taken can be written again."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / ".meerkat").mkdir()
    (folder / ".meerkat" / "node.toml").write_text(text, encoding="utf-8", errors="surrogateescape")
    try:
        home = open_home(folder)
    except Fault:
        return
    with home:
        home.save()
    with open_home(folder) as again:
        assert again.config == home.config
