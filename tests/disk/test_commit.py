"""The exchange loses nothing that a person writes at any moment of it (R8, G2), and readers never see a gap (G3)."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from meerkat.disk import platform
from meerkat.disk.commit import (
    Displaced,
    Occupied,
    Placed,
    Raced,
    mend,
    place,
    put_back,
    remove,
    remove_folder,
    set_metadata,
    sync_parents,
)
from meerkat.disk.root import Root
from meerkat.disk.scan import look
from meerkat.disk.stage import Stage
from meerkat.model.ids import Digest
from meerkat.model.path import RelPath, parse_path
from meerkat.model.problem import PathBlocked, Reason
from meerkat.model.version import Base, Content, Kind, Stat, Version

TIME_NS = 1_600_000_000_123_456_789
PATH = parse_path("f")
NEW = b"new from a peer"
ANY_BASE = Base(Content(Kind.FILE, b"x" * 32), Stat(Kind.FILE, 1, 1, 1, 1, 0o644))


def file_version(data: bytes, mode: int = 0o644) -> Version:
    return Version(Kind.FILE, len(data), TIME_NS, mode, Digest(blake3(data).digest()))


def base_of(root: Root, path: RelPath) -> Base:
    """What is there, read long after the last write as far as the times tell."""
    base = look(root, path, None).base
    assert base is not None
    return Base(base.content, base.stat, base.recipe, racy=False)


def old_file(folder: Path, root: Root) -> Base:
    (folder / "f").write_text("old")
    os.utime(folder / "f", ns=(TIME_NS - 10**9, TIME_NS - 10**9))
    return base_of(root, PATH)


def staged(stage: Stage) -> int:
    return stage.write_small("s", NEW, file_version(NEW))


def texts(folder: Path) -> set[str]:
    """Every text there is, in the tree and in the stage."""
    places = (*folder.iterdir(), *(folder / ".meerkat/stage").iterdir())
    return {place.read_text() for place in places if place.is_file() and not place.is_symlink()}


# ---- place


def test_a_new_file_comes_to_stand(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """At a free path the staged thing stands, and the base answers for it at the next look."""
    inode = staged(stage)
    result = place(root, stage, PATH, "s", inode, None, file_version(NEW))
    assert isinstance(result, Placed)
    assert result.old is None
    assert (folder / "f").read_bytes() == NEW
    assert stage.names() == []
    assert look(root, PATH, result.base).same
    sync_parents(root, [PATH])


def test_an_old_file_comes_out(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """Where something is replaced, the old lies under the stage name, unharmed."""
    expected = old_file(folder, root)
    result = place(root, stage, PATH, "s", staged(stage), expected, file_version(NEW))
    assert isinstance(result, Placed)
    assert result.old == "s"
    assert (folder / "f").read_bytes() == NEW
    assert stage.content("s") == expected.content
    assert look(root, PATH, result.base).same


@pytest.mark.parametrize("old", ["file", "folder", "link"])
@pytest.mark.parametrize("new", ["file", "folder", "link"])
def test_kinds_replace_each_other(folder: Path, root: Root, stage: Stage, calls: str, old: str, new: str) -> None:
    """A thing of any kind takes the place of one of any other."""
    match old:
        case "file":
            (folder / "f").write_text("old")
        case "folder":
            (folder / "f").mkdir()
        case _:
            (folder / "f").symlink_to("old")
    expected = base_of(root, PATH)
    version, inode = make(stage, new)
    result = place(root, stage, PATH, "s", inode, expected, version)
    assert isinstance(result, Placed)
    assert stage.content("s") == expected.content
    assert base_of(root, PATH).content == version.content


def make(stage: Stage, kind: str) -> tuple[Version, int]:
    match kind:
        case "file":
            return file_version(NEW), staged(stage)
        case "folder":
            version = Version(Kind.FOLDER, mode=0o755)
            return version, stage.make_folder("s", version)
        case _:
            version = Version(Kind.SYMLINK, mtime_ns=TIME_NS, target="elsewhere")
            return version, stage.make_link("s", version)


def persons_act(place: Path, act: str) -> None:
    """What a person does to a path."""
    match act:
        case "write":
            place.write_text("mine")
        case "same size":
            place.write_text("own")
        case "append":
            with place.open("a") as file:
                file.write("more")
        case "editor's save":
            place.with_name("tmp").write_text("mine")
            place.with_name("tmp").rename(place)
        case "chmod":
            place.chmod(0o600)
        case "remove":
            place.unlink(missing_ok=True)
        case "to folder":
            place.unlink(missing_ok=True)
            place.mkdir()
            (place / "x").write_text("mine")
        case "to link":
            place.unlink(missing_ok=True)
            place.symlink_to("mine")
        case _:
            place.unlink(missing_ok=True)
            os.mkfifo(place)


PEOPLE = ["write", "same size", "append", "editor's save", "chmod", "remove", "to folder", "to link", "to pipe"]


@pytest.mark.parametrize("act", PEOPLE)
def test_what_changed_before_the_look_is_not_touched(
    folder: Path, root: Root, stage: Stage, calls: str, act: str
) -> None:
    """A change that the index does not know of stops the exchange before it begins."""
    expected = old_file(folder, root)
    inode = staged(stage)
    persons_act(folder / "f", act)
    before = os.lstat(folder / "f") if os.path.lexists(folder / "f") else None
    if act == "to pipe":
        with pytest.raises(PathBlocked, match="named pipe"):
            place(root, stage, PATH, "s", inode, expected, file_version(NEW))
    else:
        assert isinstance(place(root, stage, PATH, "s", inode, expected, file_version(NEW)), Raced)
    assert (os.lstat(folder / "f") if os.path.lexists(folder / "f") else None) == before
    assert stage.inode("s") == inode


@pytest.mark.parametrize("act", PEOPLE)
def test_what_a_person_does_between_look_and_exchange_is_put_back(
    folder: Path, root: Root, stage: Stage, act: str
) -> None:
    """Whatever comes to stand there just before the exchange is back afterwards, and the staged thing too."""
    expected = old_file(folder, root)
    inode = staged(stage)

    def between(step: str) -> None:
        if step == "looked":
            persons_act(folder / "f", act)

    result = place(root, stage, PATH, "s", inode, expected, file_version(NEW), between)
    assert isinstance(result, Raced)
    assert stage.inode("s") == inode
    check_persons(folder / "f", act)


def check_persons(place: Path, act: str) -> None:
    match act:
        case "write" | "editor's save":
            assert place.read_text() == "mine"
        case "same size":
            assert place.read_text() == "own"
        case "append":
            assert place.read_text() == "oldmore"
        case "chmod":
            assert place.stat().st_mode & 0o777 == 0o600
        case "remove":
            assert not place.exists()
        case "to folder":
            assert (place / "x").read_text() == "mine"
        case "to link":
            assert os.readlink(place) == "mine"
        case _:
            assert place.is_fifo()


@pytest.mark.parametrize("act", ["write", "editor's save", "same size", "remove"])
def test_the_fallback_keeps_what_is_written_in_place(
    folder: Path, root: Root, stage: Stage, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """Without an atomic exchange, what is done between look and exchange is found as well."""
    monkeypatch.setattr(platform, "lacking", {"renameat2"})
    test_what_a_person_does_between_look_and_exchange_is_put_back(folder, root, stage, act)


@pytest.mark.parametrize("first", ["write", "editor's save", "to folder"])
@pytest.mark.parametrize("second", PEOPLE)
def test_a_person_twice_as_fast(folder: Path, root: Root, stage: Stage, first: str, second: str) -> None:
    """One write before the exchange and one before the way back: both are somewhere, and a stray one is reported."""
    expected = old_file(folder, root)
    inode = staged(stage)
    kept: list[os.stat_result] = []

    def between(step: str) -> None:
        if step == "looked":
            persons_act(folder / "f", first)
        if step == "exchanged":
            kept.append(os.lstat(folder / ".meerkat/stage/s"))
            persons_act(folder / "f", second)

    result = place(root, stage, PATH, "s", inode, expected, file_version(NEW), between)
    assert os.lstat(folder / "f").st_ino == kept[0].st_ino  # the first write stands again
    if second == "remove":
        assert isinstance(result, Raced)  # only our own was removed
    else:
        assert result == Displaced("s")
        check_displaced(folder / ".meerkat/stage/s", second)


def check_displaced(place: Path, act: str) -> None:
    if act == "append":
        assert place.read_text() == NEW.decode() + "more"
    else:
        check_persons(place, act)


def test_something_appears_at_a_free_path(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """Where nothing was expected, what a person puts there meanwhile stays."""
    inode = staged(stage)

    def between(step: str) -> None:
        if step == "looked":
            (folder / "f").write_text("mine")

    result = place(root, stage, PATH, "s", inode, None, file_version(NEW), between)
    assert isinstance(result, Raced)
    assert (folder / "f").read_text() == "mine"
    assert stage.inode("s") == inode


@pytest.mark.parametrize("act", PEOPLE)
@pytest.mark.parametrize("step", ["exchanged", "inspected"])
def test_a_write_after_the_exchange_is_seen_by_the_next_look(
    folder: Path, root: Root, stage: Stage, act: str, step: str
) -> None:
    """What a person does to the new thing before it is recorded differs from what is recorded."""
    inode = staged(stage)

    def between(at: str) -> None:
        if at == step:
            persons_act(folder / "f", act)

    result = place(root, stage, PATH, "s", inode, None, file_version(NEW), between)
    assert isinstance(result, Placed)
    assert result.base is not None
    assert result.base.content == file_version(NEW).content
    try:
        assert not look(root, PATH, result.base).same
    except PathBlocked:
        assert act == "to pipe"


def test_a_racy_base_is_read_before_it_is_replaced(folder: Path, root: Root, stage: Stage) -> None:
    """Where an equal lstat proves nothing the bytes decide: unchanged goes on, changed is a race."""
    (folder / "f").write_text("old")
    base = look(root, PATH, None).base
    assert base is not None
    assert base.racy
    inode = staged(stage)
    forged = Base(Content(Kind.FILE, blake3(b"other").digest()), base.stat, base.recipe, racy=True)
    assert isinstance(place(root, stage, PATH, "s", inode, forged, file_version(NEW)), Raced)
    assert (folder / "f").read_text() == "old"
    assert isinstance(place(root, stage, PATH, "s", inode, base, file_version(NEW)), Placed)


def test_a_folder_with_something_in_it_is_not_replaced(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """A file takes an empty folder's place only; a file put in at the last moment brings the folder back."""
    (folder / "f").mkdir()
    expected = base_of(root, PATH)
    inode = staged(stage)

    def between(step: str) -> None:
        if step == "looked":
            (folder / "f/x").write_text("mine")

    for answer in (Raced("it was written to just now", exposed=True), Occupied(("x",))):
        assert place(root, stage, PATH, "s", inode, expected, file_version(NEW), between) == answer
        assert (folder / "f/x").read_text() == "mine"
        assert stage.inode("s") == inode


def test_a_missing_or_swapped_parent_is_a_race(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """Without its folder, or with a link in the folder's place, nothing is put anywhere."""
    outside = folder.parent / "outside"
    outside.mkdir()
    inode = staged(stage)
    path = parse_path("d/f")
    assert isinstance(place(root, stage, path, "s", inode, None, file_version(NEW)), Raced)
    (folder / "d").symlink_to(outside)
    assert isinstance(place(root, stage, path, "s", inode, None, file_version(NEW)), Raced)
    assert os.listdir(outside) == []
    (outside / "f").write_text("not ours")
    assert isinstance(remove(root, stage, path, "r", ANY_BASE), Raced)
    assert (outside / "f").read_text() == "not ours"


def test_a_stage_name_that_holds_another_thing(folder: Path, root: Root, stage: Stage) -> None:
    """If the staged inode is not the one of the intent, nothing is placed."""
    inode = staged(stage)
    assert isinstance(place(root, stage, PATH, "s", inode + 1, None, file_version(NEW)), Raced)
    assert isinstance(place(root, stage, PATH, "none", inode, None, file_version(NEW)), Raced)
    assert not (folder / "f").exists()


def test_permission_leaves_all_as_it_was(folder: Path, root: Root, unprivileged: None) -> None:
    """In a folder that may not be written to, the path waits with the reason and nothing moves."""
    stage = Stage(root)
    (folder / "d").mkdir()
    (folder / "d/f").write_text("old")
    path = parse_path("d/f")
    expected = base_of(root, path)
    inode = staged(stage)
    (folder / "d").chmod(0o500)
    acts: list[Callable[[], object]] = [
        lambda: place(root, stage, path, "s", inode, expected, file_version(NEW)),
        lambda: remove(root, stage, path, "r", expected),
    ]
    for act in acts:
        with pytest.raises(PathBlocked) as caught:
            act()
        assert caught.value.problem.reason is Reason.PERMISSION
    assert (folder / "d/f").read_text() == "old"
    assert stage.inode("s") == inode
    (folder / "d").chmod(0o700)
    stage.close()


def test_a_reader_never_sees_a_gap_or_a_mixture(folder: Path, root: Root, stage: Stage) -> None:
    """While a file is replaced again and again, every open succeeds and every read is one whole version (G3)."""
    contents = [bytes([65 + number]) * 50_000 for number in range(8)]
    (folder / "f").write_bytes(contents[0])
    os.utime(folder / "f", ns=(TIME_NS, TIME_NS))
    expected = base_of(root, PATH)
    done = threading.Event()
    faults: list[str] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        while not done.is_set():
            try:
                data = (folder / "f").read_bytes()
            except FileNotFoundError:
                faults.append("gone")
                continue
            reads += 1
            if data not in contents:
                faults.append("mixed")

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        data = contents[number % len(contents)]
        inode = stage.write_small("s", data, file_version(data))
        result = place(root, stage, PATH, "s", inode, expected, file_version(data))
        assert isinstance(result, Placed)
        assert result.base is not None
        expected = result.base
        stage.drop("s")
    done.set()
    reader.join()
    assert faults == []
    assert reads > 0


def test_a_writer_loop_loses_nothing(folder: Path, root: Root, stage: Stage) -> None:
    """A person appends without pause while peers' versions arrive: every token is in the tree, the old or the stage."""
    (folder / "f").write_text("")
    stop = threading.Event()
    tokens: list[str] = []

    def write() -> None:
        while not stop.is_set() and len(tokens) < 3000:
            token = f"<{len(tokens)}>"
            with open(folder / "f", "a") as file:
                file.write(token)
            tokens.append(token)

    person = threading.Thread(target=write)
    person.start()
    kept: list[bytes] = []
    for number in range(200):
        data = b"peer %d\n" % number
        inode = stage.write_small("s", data, file_version(data))
        try:
            expected = look(root, PATH, None).base
            result = place(root, stage, PATH, "s", inode, expected, file_version(data))
        except PathBlocked:
            continue
        late = isinstance(result, Raced) and result.exposed  # the person may have opened it while it stood there
        if late or isinstance(result, Displaced) or (isinstance(result, Placed) and result.old):
            (folder / ".meerkat/stage/s").rename(folder / f".meerkat/stage/kept{number}")
    stop.set()
    person.join()
    kept += [each.read_bytes() for each in (folder / ".meerkat/stage").iterdir()]
    everything = b"".join([*kept, (folder / "f").read_bytes()]).decode()
    assert [token for token in tokens if token not in everything] == []


# ---- after a crash


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_mend_brings_a_cut_off_exchange_to_an_end(
    folder: Path, root: Root, stage: Stage, monkeypatch: pytest.MonkeyPatch, links: bool, stop: int
) -> None:
    """Killed anywhere in the fallback, the stage then tells truly whether the commit happened (R9)."""
    monkeypatch.setattr(platform, "lacking", {"renameat2"} | (set() if links else {"link"}))
    expected = old_file(folder, root)
    inode = staged(stage)
    done = 0

    class Killed(BaseException):
        pass

    def counting(real: Callable[..., None]) -> Callable[..., None]:
        def act(*args: object, **kwargs: object) -> None:
            nonlocal done
            real(*args, **kwargs)
            done += 1
            if done == stop:
                raise Killed

        return act

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", counting(os.rename))
        patch.setattr(os, "link", counting(os.link))
        with pytest.raises(Killed):
            place(root, stage, PATH, "s", inode, expected, file_version(NEW))
    assert mend(root, stage, PATH, "s") is None
    happened = stage.inode("s") != inode
    assert (folder / "f").read_bytes() == (NEW if happened else b"old")
    assert stage.content("s") == (expected if happened else Base(file_version(NEW).content, expected.stat)).content
    assert texts(folder) == {"old", NEW.decode()}
    assert os.listdir(folder / ".meerkat/stage") == ["s"]


def test_mend_keeps_the_old_thing_when_a_person_came_between(
    folder: Path, root: Root, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the path was filled anew after the crash, the old thing is handed out under a name of its own."""
    expected = old_file(folder, root)
    inode = staged(stage)
    (folder / "f").rename(folder / ".meerkat/stage/s~")  # as the fallback for unlinkable things had left it
    (folder / "f").write_text("mine")
    left = mend(root, stage, PATH, "s")
    assert left == "s.left"
    assert stage.content("s.left") == expected.content
    assert stage.inode("s") == inode
    assert (folder / "f").read_text() == "mine"


def test_mend_has_nothing_to_do_otherwise(folder: Path, root: Root, stage: Stage) -> None:
    """Before and after an ordinary exchange, and without the folder above, mending changes nothing."""
    inode = staged(stage)
    assert mend(root, stage, PATH, "s") is None
    assert mend(root, stage, parse_path("no/such/folder"), "s") is None
    assert stage.inode("s") == inode


def test_put_back_fills_a_free_place_only(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """A person's bytes go back where nothing is; elsewhere, or without a folder, they stay staged."""
    staged(stage)
    (folder / "taken").write_text("mine")
    assert not put_back(root, stage, "s", parse_path("taken"))
    assert not put_back(root, stage, "s", parse_path("none/f"))
    assert put_back(root, stage, "s", PATH)
    assert (folder / "f").read_bytes() == NEW
    assert (folder / "taken").read_text() == "mine"


# ---- remove


def test_a_removed_file_lies_in_the_stage(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """Removing moves the very thing to the stage name."""
    expected = old_file(folder, root)
    assert remove(root, stage, PATH, "r", expected) == Placed(None, "r")
    assert not (folder / "f").exists()
    assert stage.content("r") == expected.content


@pytest.mark.parametrize("act", PEOPLE)
def test_what_is_written_before_the_removal_stays(folder: Path, root: Root, stage: Stage, calls: str, act: str) -> None:
    """An edit just before the removal, seen by the look or not, is not removed."""
    expected = old_file(folder, root)

    def between(step: str) -> None:
        if step == "looked":
            persons_act(folder / "f", act)

    assert isinstance(remove(root, stage, PATH, "r", expected, between), Raced)
    check_persons(folder / "f", act)
    assert stage.names() == []
    if act != "to pipe":
        assert isinstance(remove(root, stage, PATH, "r", expected), Raced)


def test_two_edits_around_a_removal(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """One edit comes out, another stands in its place meanwhile: both are kept and the stray one is reported."""
    expected = old_file(folder, root)

    def between(step: str) -> None:
        if step == "looked":
            (folder / "f").write_text("first")
        if step == "exchanged":
            (folder / "f").write_text("second")

    assert remove(root, stage, PATH, "r", expected, between) == Displaced("r")
    assert texts(folder) == {"first", "second"}


def test_removal_does_not_replace_what_is_staged(folder: Path, root: Root, stage: Stage) -> None:
    """A stage name that is taken stops the removal."""
    expected = old_file(folder, root)
    staged(stage)
    with pytest.raises(PathBlocked):
        remove(root, stage, PATH, "s", expected)
    assert texts(folder) == {"old", NEW.decode()}


def test_folders_go_only_when_empty(folder: Path, root: Root, stage: Stage) -> None:
    """A folder that holds anything is kept and its names are told; an empty one goes; another one stays."""
    (folder / "f").mkdir()
    expected = base_of(root, PATH)
    (folder / "f/b").write_text("x")
    (folder / "f" / os.fsdecode(b"a\xff")).write_text("x")
    assert remove_folder(root, PATH, expected) == Occupied(("b",), ("a\\xff",))
    for place_ in (folder / "f").iterdir():
        place_.unlink()
    (folder / "f").chmod(0o711)
    assert isinstance(remove_folder(root, PATH, expected), Raced)
    assert remove_folder(root, PATH, base_of(root, PATH)) == Placed(None, None)
    assert isinstance(remove_folder(root, PATH, expected), Raced)
    with pytest.raises(ValueError, match="remove_folder"):
        remove(root, stage, PATH, "r", expected)


# ---- metadata


def test_bits_and_times_change_without_the_bytes(folder: Path, root: Root) -> None:
    """Files get bits and times, folders bits, links a time; the answer is what the disk shows."""
    expected = old_file(folder, root)
    result = set_metadata(root, PATH, expected, file_version(b"old", 0o751))
    assert isinstance(result, Base)
    assert (result.content, result.stat) == (expected.content, root.lstat(PATH))
    assert (result.stat.mode, result.stat.mtime_ns, result.racy) == (0o751, TIME_NS, True)
    assert (folder / "f").read_text() == "old"

    (folder / "d").mkdir()
    (folder / "d/x").write_text("x")
    path = parse_path("d")
    result = set_metadata(root, path, base_of(root, path), Version(Kind.FOLDER, mode=0o711))
    assert isinstance(result, Base)
    assert (folder / "d").stat().st_mode & 0o777 == 0o711
    assert look(root, path, result).same

    (folder / "l").symlink_to("f")
    path = parse_path("l")
    link = Version(Kind.SYMLINK, mtime_ns=TIME_NS - 5, target="f")
    result = set_metadata(root, path, base_of(root, path), link)
    assert isinstance(result, Base)
    assert (folder / "l").lstat().st_mtime_ns == TIME_NS - 5
    assert (folder / "f").stat().st_mtime_ns == TIME_NS


@pytest.mark.parametrize("act", [name for name in PEOPLE if name != "to pipe"])
def test_metadata_does_not_cover_up_an_edit(folder: Path, root: Root, act: str) -> None:
    """An edit before the look, or between the look and the change, is found by the engine's next look."""
    expected = old_file(folder, root)
    hooked = False

    def between(step: str) -> None:
        nonlocal hooked
        if step == "looked" and not hooked:
            hooked = True
            persons_act(folder / "f", act)

    for _ in range(2):
        result = set_metadata(root, PATH, expected, file_version(b"old", 0o751), between)
        assert isinstance(result, Raced)
    check_persons(folder / "f", act)


def test_metadata_never_reaches_through_a_link(folder: Path, root: Root) -> None:
    """A link swapped in for the file keeps the change from its target."""
    expected = old_file(folder, root)
    secret = folder.parent / "secret"
    secret.write_text("s")
    secret.chmod(0o600)

    def between(step: str) -> None:
        if step == "looked":
            (folder / "f").unlink()
            (folder / "f").symlink_to(secret)

    assert isinstance(set_metadata(root, PATH, expected, file_version(b"old", 0o777), between), Raced)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_bits_of_a_file_that_may_not_be_read(folder: Path, root: Root, unprivileged: None) -> None:
    """The owner may give reading rights back to a file without any."""
    expected = old_file(folder, root)
    (folder / "f").chmod(0)
    seen = root.lstat(PATH)
    assert seen is not None
    unread = Base(expected.content, seen)
    result = set_metadata(root, PATH, unread, file_version(b"old", 0o640))
    assert isinstance(result, Base)
    assert (result.stat.mode, result.stat.mtime_ns) == (0o640, TIME_NS)


def test_parents_are_synced_also_when_gone(folder: Path, root: Root, stage: Stage, calls: str) -> None:
    """Few and many folders are flushed; one that has gone meanwhile is no trouble."""
    for number in range(20):
        (folder / f"d{number}").mkdir()
    sync_parents(root, [parse_path(f"d{number}/f") for number in range(3)])
    sync_parents(root, [parse_path(f"d{number}/f") for number in range(20)])
    sync_parents(root, [parse_path("none/f"), PATH])
