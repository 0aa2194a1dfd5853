"""The roster on disk."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meerkat.model.frame import Signed
from meerkat.model.ids import NodeId
from meerkat.store.roster import RosterStore

ADA, BOB = NodeId("a" * 32), NodeId("b" * 32)
OPS = [Signed(bytes([number]) * 50, b"signature") for number in range(4)]


def by_body(ops: list[Signed]) -> list[Signed]:
    return sorted(ops, key=lambda one: one.body)


def op_file(folder: Path, op: Signed) -> Path:
    return folder / f"{hashlib.sha256(op.body).hexdigest()}.op"


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    """Operations, the newest record of each node, and where nodes were reached."""
    folder = tmp_path / "roster"
    store = RosterStore(folder)
    store.put_ops(OPS)
    store.put_record(ADA, Signed(b"old", b"s"))
    store.put_record(ADA, Signed(b"new", b"s"))
    store.put_record(BOB, Signed(b"", b""))
    store.put_seen(ADA, ["10.0.0.1:1", "nas:2"])
    loaded = RosterStore(folder).load()
    assert by_body(loaded.ops) == by_body(OPS)
    assert loaded.records == {ADA: Signed(b"new", b"s"), BOB: Signed(b"", b"")}
    assert loaded.seen == {ADA: ("10.0.0.1:1", "nas:2")}
    assert loaded.damaged == []


def test_an_empty_roster_is_no_error(tmp_path: Path) -> None:
    """A new node starts with nothing."""
    loaded = RosterStore(tmp_path / "roster").load()
    assert (loaded.ops, loaded.records, loaded.seen, loaded.damaged) == ([], {}, {}, [])
    assert (tmp_path / "roster").stat().st_mode & 0o777 == 0o700


def test_putting_again_changes_nothing(tmp_path: Path) -> None:
    """An operation that came many times is written once."""
    store = RosterStore(tmp_path)
    store.put_op(OPS[0])
    before = op_file(tmp_path, OPS[0]).stat().st_ino
    store.put_ops(OPS[:2])
    assert op_file(tmp_path, OPS[0]).stat().st_ino == before
    assert len(store.load().ops) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)


def swapped(path: Path) -> None:
    other = op_file(path.parent, OPS[1])
    path.write_bytes(other.read_bytes())


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [cut, emptied, flipped, swapped, a_folder])
def test_a_damaged_file_costs_itself_alone(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """The damaged one is set aside and named, the others load, and the same operation can be put again."""
    store = RosterStore(tmp_path)
    store.put_ops(OPS)
    victim = op_file(tmp_path, OPS[0])
    harm(victim)
    loaded = store.load()
    assert by_body(loaded.ops) == by_body(OPS[1:])
    assert loaded.damaged == [victim.name]
    assert store.load().damaged == []
    store.put_op(OPS[0])
    assert by_body(store.load().ops) == by_body(OPS)


def test_damaged_records_and_addresses_are_set_aside(tmp_path: Path) -> None:
    """A record under no node's name, and addresses that are no text, do not stop the start."""
    store = RosterStore(tmp_path)
    store.put_record(ADA, Signed(b"x", b"s"))
    (tmp_path / f"{ADA}.record").rename(tmp_path / "somebody.record")
    (tmp_path / f"{ADA}.seen").write_bytes(b"\xff\xfe")
    (tmp_path / f"{BOB}.seen").write_bytes(b"x" * 1000)
    loaded = store.load()
    assert (loaded.records, loaded.seen, len(loaded.damaged)) == ({}, {}, 3)


def test_rests_of_an_interrupted_write_are_cleared(tmp_path: Path) -> None:
    """What a crash left half-written is neither read nor kept; foreign files are left alone."""
    (tmp_path / ".0123456789abcdef.passing").write_bytes(b"half")
    (tmp_path / "README").write_text("mine")
    assert RosterStore(tmp_path).load().damaged == []
    assert os.listdir(tmp_path) == ["README"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_or_nothing(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full disk the caller hears of it, the old record stays, and no rests pile up."""
    store = RosterStore(tmp_path)
    store.put_record(ADA, Signed(b"old", b"s"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if failing == "fsync" else Path, failing, fail)
        with pytest.raises(OSError, match="No space"):
            store.put_record(ADA, Signed(b"new", b"s"))
        with pytest.raises(OSError, match="No space"):
            store.put_ops(OPS)
    assert os.listdir(tmp_path) == [f"{ADA}.record"]
    assert store.load().records == {ADA: Signed(b"old", b"s")}


def test_a_file_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power loss at any instant leaves whole files: content first, then the name, then the folder."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(handle: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    def watched_replace(path: Path, target: Path) -> Path:
        steps.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    RosterStore(tmp_path).put_ops(OPS[:2])
    assert steps == ["file", "file", "name", "name", "folder"]


def test_a_forged_operation_can_be_dropped(tmp_path: Path) -> None:
    """What turned out to be signed by nobody leaves the disk, and may be dropped twice."""
    store = RosterStore(tmp_path)
    store.put_ops(OPS)
    for _ in range(2):
        store.drop_op(hashlib.sha256(OPS[0].body).digest())
    assert by_body(store.load().ops) == by_body(OPS[1:])


@given(st.binary(max_size=100), st.binary(max_size=80))
def test_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, body: bytes, signature: bytes) -> None:
    """Body and signature are kept to the byte: signatures cover the very bytes."""
    store = RosterStore(tmp_path_factory.mktemp("roster"))
    store.put_op(Signed(body, signature))
    assert store.load().ops == [Signed(body, signature)]
