"""What was replaced or removed on a peer's word can be had back, whatever happens while it is put away."""

import fcntl
import json
import mmap
import os
import re
from pathlib import Path

import pytest
from blake3 import blake3

from meerkat.disk import platform
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.ids import Digest
from meerkat.model.path import parse_path
from meerkat.model.problem import PathBlocked
from meerkat.model.version import FOLDER, Content, Kind, Version

TIME_NS = 1_600_000_000_123_456_789
DAY_S = 86_400.0


def keep(trash: Trash, stage: Stage, path: str, data: bytes) -> str:
    content = Content(Kind.FILE, blake3(data).digest())
    stage.write_small("s", data, Version(Kind.FILE, len(data), TIME_NS, 0o640, Digest(content.ident)))
    return trash.keep(stage, "s", parse_path(path), content)


def test_a_file_goes_in_and_comes_out(folder: Path, stage: Stage, trash: Trash, calls: str) -> None:
    """Bytes, bits, times and where it stood are all there again."""
    entry_id = keep(trash, stage, "a/report.docx", b"data")
    assert stage.names() == []
    (kept,) = trash.entries()
    assert (kept.id, kept.path, kept.size, kept.mtime_ns, kept.late) == (entry_id, "a/report.docx", 4, TIME_NS, False)
    assert kept.content == Content(Kind.FILE, blake3(b"data").digest())
    assert kept.trashed_at.tzinfo is not None
    assert trash.take(entry_id, stage, "back") == kept.content
    found = (folder / ".meerkat/stage/back").stat()
    assert (found.st_mtime_ns, found.st_mode & 0o777) == (TIME_NS, 0o640)
    assert (folder / ".meerkat/stage/back").read_bytes() == b"data"
    assert [each.id for each in trash.entries()] == [entry_id]
    trash.sync()


def test_the_note_is_plain_json(folder: Path, stage: Stage, trash: Trash) -> None:
    """A person without Meerkat can read what a thing was, and find it by day and name."""
    entry_id = keep(trash, stage, "a/two\nlines é.txt", b"data")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/[0-9a-f]{12}-two_lines__\.txt", entry_id)
    note = json.loads((folder / ".meerkat/trash" / (entry_id + ".json")).read_text())
    assert note["path"] == "a/two\nlines é.txt"
    assert (note["kind"], note["size"], note["mtime_ns"]) == ("file", 4, TIME_NS)
    assert note["digest"] == blake3(b"data").hexdigest()
    assert note["trashed_at"].endswith("Z")


def test_links_and_folders(stage: Stage, trash: Trash) -> None:
    """A link is kept in its note; an empty folder is just removed; one that holds something stays where it is."""
    stage.make_link("s", Version(Kind.SYMLINK, mtime_ns=TIME_NS, target=os.fsdecode(b"x\xff")))
    entry_id = trash.keep(stage, "s", parse_path("l"), Content(Kind.SYMLINK, b"x\xff"))
    stage.make_folder("s", Version(Kind.FOLDER, mode=0o755))
    assert trash.keep(stage, "s", parse_path("d"), FOLDER) == ""
    assert stage.names() == []
    (kept,) = trash.entries()
    assert (kept.path, kept.content) == ("l", Content(Kind.SYMLINK, b"x\xff"))
    assert trash.take(entry_id, stage, "back") == Content(Kind.SYMLINK, b"x\xff")
    assert stage.content("back") == Content(Kind.SYMLINK, b"x\xff")


def test_a_folder_that_holds_something_stays_staged(folder: Path, stage: Stage, trash: Trash) -> None:
    """A folder with a person's file in it is not removed."""
    stage.make_folder("s", Version(Kind.FOLDER, mode=0o755))
    (folder / ".meerkat/stage/s/mine").write_text("x")
    with pytest.raises(PathBlocked):
        trash.keep(stage, "s", parse_path("d"), FOLDER)
    assert (folder / ".meerkat/stage/s/mine").read_text() == "x"


def test_late_writes_are_noticed(stage: Stage, trash: Trash, folder: Path) -> None:
    """A process that still had the file open and writes to it makes the entry late."""
    stage.prepare("s", 0)
    with open(folder / ".meerkat/stage/s", "ab") as still_open:
        entry_id = trash.keep(stage, "s", parse_path("f"), Content(Kind.FILE, blake3(b"").digest()))
        assert [kept.late for kept in trash.entries()] == [False]
        still_open.write(b"late")
    assert [(kept.late, kept.size) for kept in trash.entries()] == [(True, 4)]
    assert trash.take(entry_id, stage, "back").ident == blake3(b"late").digest()


def test_two_of_one_path_are_both_kept(stage: Stage, trash: Trash) -> None:
    """The same path, the same moment: two entries."""
    assert keep(trash, stage, "f", b"one") != keep(trash, stage, "f", b"two")
    assert {kept.content.ident for kept in trash.entries()} == {blake3(b"one").digest(), blake3(b"two").digest()}


@pytest.mark.parametrize("name", ["x.json", "n" * 255, "é" * 127, "-rf", "..."])
def test_any_name_can_be_kept(stage: Stage, trash: Trash, name: str) -> None:
    """Names that would collide with notes, or are long, or strange, are kept under a safe short form."""
    entry_id = keep(trash, stage, name, b"data")
    assert [kept.path for kept in trash.entries()] == [name]
    assert trash.take(entry_id, stage, "back").ident == blake3(b"data").digest()
    trash.drop(entry_id)
    assert list(trash.entries()) == []


def test_killed_between_note_and_bytes(
    folder: Path, root: Root, stage: Stage, trash: Trash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are then still in the stage, the lone note is not an entry, and keeping again works."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(platform, "rename_noreplace", die)
        with pytest.raises(Killed):
            keep(trash, stage, "f", b"data")
    assert stage.read("s", 0, 4) == b"data"
    again = Trash(root)
    assert list(again.entries()) == []
    again.keep(stage, "s", parse_path("f"), Content(Kind.FILE, blake3(b"data").digest()))
    assert [kept.path for kept in again.entries()] == ["f"]
    again.close()


def test_what_a_crash_left_is_swept(folder: Path, root: Root, stage: Stage, trash: Trash) -> None:
    """Notes without bytes and notes that were being rewritten go with the next pruning; bytes and links stay."""
    entry_id = keep(trash, stage, "f", b"data")
    stage.make_link("s", Version(Kind.SYMLINK, mtime_ns=TIME_NS, target="x"))
    link_id = trash.keep(stage, "s", parse_path("l"), Content(Kind.SYMLINK, b"x"))
    gone_id = keep(trash, stage, "gone", b"gone")
    day = folder / ".meerkat/trash" / entry_id.partition("/")[0]
    (folder / ".meerkat/trash" / gone_id).unlink()
    (day / f"new-{entry_id.partition('/')[2]}.json").write_text("{}")
    (day / "a person's").write_text("x")
    assert trash.prune(0.0, DAY_S, 10**9) == []
    names = {entry_id.partition("/")[2], f"{entry_id.partition('/')[2]}.json", f"{link_id.partition('/')[2]}.json"}
    assert set(os.listdir(day)) == names | {"a person's"}


def test_what_was_read_is_vouched_for(folder: Path, stage: Stage, trash: Trash) -> None:
    """What was read and found to hold these bytes is not late, until it looks otherwise again."""
    entry_id = keep(trash, stage, "f", b"data")
    place = folder / ".meerkat/trash" / entry_id
    place.write_bytes(b"other")
    (kept,) = trash.entries()
    assert kept.late
    content, seen = trash.read_content(entry_id)
    assert (content.ident, seen.size) == (blake3(b"other").digest(), 5)
    trash.vouch(kept, content, seen)
    (kept,) = trash.entries()
    assert (kept.late, kept.content, kept.path) == (False, content, "f")
    assert trash.find(blake3(b"other").digest()) == entry_id
    place.write_bytes(b"longer")
    assert [each.late for each in trash.entries()] == [True]
    assert trash.entry(entry_id) is not None
    with pytest.raises(KeyError):
        trash.read_content("2026-01-01/0123456789ab-x")


def test_a_kept_file_is_released_into_the_tree(folder: Path, stage: Stage, trash: Trash) -> None:
    """The same inode, and never over anything."""
    came: list[str] = []
    trash.on_kept = came.append
    entry_id = keep(trash, stage, "f", b"data")
    assert came == [entry_id]
    inode = (folder / ".meerkat/trash" / entry_id).stat().st_ino
    (folder / "taken").write_text("mine")
    assert not trash.release(entry_id, parse_path("taken"))
    assert not trash.release(entry_id, parse_path("no/such/folder"))
    assert trash.release(entry_id, parse_path("free"))
    assert (folder / "free").stat().st_ino == inode
    assert (folder / "taken").read_text() == "mine"
    assert list(trash.entries()) == []
    assert trash.entry(entry_id) is None
    assert not trash.release(entry_id, parse_path("free too"))


@pytest.mark.parametrize("damage", ["removed", "empty", "nonsense", "link"])
def test_bytes_without_a_note_are_still_listed(folder: Path, stage: Stage, trash: Trash, damage: str) -> None:
    """A note that power loss has eaten does not hide the bytes."""
    entry_id = keep(trash, stage, "f", b"data")
    note = folder / ".meerkat/trash" / (entry_id + ".json")
    note.unlink()
    match damage:
        case "empty":
            note.write_text("")
        case "nonsense":
            note.write_text('{"path": 7, "kind": []}')
        case "link":
            note.symlink_to("/etc/passwd")
        case _:
            pass
    (kept,) = trash.entries()
    assert (kept.id, kept.path, kept.size) == (entry_id, "", 4)
    assert trash.take(entry_id, stage, "back").ident == blake3(b"data").digest()


def test_prune_by_age_and_by_size(folder: Path, stage: Stage, trash: Trash) -> None:
    """What is too old goes, then the oldest until the rest fits; days that are empty go with them."""
    ids = [keep(trash, stage, f"f{number}", bytes(100)) for number in range(4)]
    now_s = max(kept.trashed_at.timestamp() for kept in trash.entries())
    assert trash.prune(now_s, DAY_S, 400) == []
    (gone,) = trash.prune(now_s, DAY_S, 300)
    assert gone == ids[0]
    assert sorted(trash.prune(now_s + 2 * DAY_S, DAY_S, 10**9)) == sorted(ids[1:])
    assert list(trash.entries()) == []
    assert os.listdir(folder / ".meerkat/trash") == []


@pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="this system cannot tell who writes")
@pytest.mark.parametrize("mapped", [False, True])
def test_what_a_program_still_writes_to_is_not_pruned(folder: Path, stage: Stage, trash: Trash, mapped: bool) -> None:
    """It is too large for the trash, but its program goes on writing into it: gone, all of that would be nowhere."""
    stage.write_small("s", b"data", Version(Kind.FILE, 4, TIME_NS, 0o640, Digest(blake3(b"data").digest())))
    handle = os.open("s", os.O_RDWR, dir_fd=stage.handle)
    mapping = mmap.mmap(handle, 4) if mapped else None
    if mapped:
        os.close(handle)
    entry_id = trash.keep(stage, "s", parse_path("f"), Content(Kind.FILE, blake3(b"data").digest()))
    assert trash.prune(1e12, 1.0, 0) == []
    if mapping is not None:
        mapping.close()
    else:
        os.close(handle)
    assert trash.prune(1e12, 1.0, 0) == [entry_id]


@pytest.mark.parametrize(
    "entry_id", ["", "x", "../node.toml", "2026-01-01/../../node.toml", "2026-01-01/0123456789ab-x"]
)
def test_only_ids_are_taken(stage: Stage, trash: Trash, entry_id: str) -> None:
    """What a person types as an id reaches nothing outside the trash."""
    with pytest.raises(KeyError):
        trash.take(entry_id, stage, "back")


def test_nothing_to_keep(stage: Stage, trash: Trash) -> None:
    """An empty stage name is told as trouble, and leaves no entry."""
    with pytest.raises(PathBlocked):
        trash.keep(stage, "none", parse_path("f"), Content(Kind.FILE, b"x" * 32))
    assert list(trash.entries()) == []
