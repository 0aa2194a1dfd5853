"""People who work on one pool like mad, fates that befall its nodes, and a chronicle that knows what must be left.

Every value written is unique. A person reads, through the very handle that is written or whose name is taken away, what
a write destroys: so the chronicle knows for each value whether somebody overwrote it knowingly. A value that nobody
overwrote must be found, after all is quiet, in a tree or a trash of some node (G2).
"""

import hashlib
import json
import os
import random
import shutil
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from e2e.pool import Node, Pool
from e2e.tree import Tree, differences

from meerkat.disk.platform import exchange, rename_noreplace

LARGE_BYTES = 600_000
"""More than one chunk, so that such files go the way of large ones."""

SMALL_BYTES_MAX = 3000
NAMES = ("a", "b", "c", "d.txt", "e.txt")
FOLDERS = ("f", "g", "h")
BITS = (0o644, 0o600, 0o755, 0o640)
FOLDER_BITS = (0o755, 0o700, 0o750)


class Written(NamedTuple):
    """Who wrote a value, where, and how."""

    node: str
    path: str
    how: str


@dataclass
class Chronicle:
    """What people wrote and what they saw when they overwrote it.

    Attributes:
        unsure: (node, path) where a rename or removal hit something other than what had been read just before.
    """

    written: dict[str, Written] = field(default_factory=dict)
    overwritten: dict[str, Written] = field(default_factory=dict)
    unsure: list[Written] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _began: float = field(default_factory=time.monotonic)

    def note(self, text: str) -> None:
        with self._lock:
            self.lines.append(f"{time.monotonic() - self._began:9.4f} {text}")

    def wrote(self, value: str, by: Written) -> None:
        with self._lock:
            self.written[value] = by
            self.lines.append(f"{time.monotonic() - self._began:9.4f} {by.node} {by.how} {by.path} = {value[:10]}")

    def overwrote(self, value: str, by: Written) -> None:
        with self._lock:
            self.overwritten[value] = by
            self.lines.append(f"{time.monotonic() - self._began:9.4f} {by.node} {by.how} {by.path} over {value[:10]}")

    def story(self, value: str) -> str:
        return "\n".join(line for line in self.lines if value[:10] in line)


def value_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def value_of_link(target: str) -> str:
    return f"->{target}"


class Person:
    """Somebody who works in one node's folder, one act after the other."""

    def __init__(self, name: str, folder: Path, rng: random.Random, chronicle: Chronicle) -> None:
        self.name = name
        self.folder = folder
        self.rng = rng
        self.chronicle = chronicle
        self.acts = 0
        self._dances: list[tuple[int, Callable[[], None]]] = [
            (20, self.overwrite),
            (8, self.save_by_rename),
            (6, self.append),
            (8, self.create),
            (6, self.remove),
            (6, self.rename),
            (4, self.move_folder),
            (4, self.make_folder),
            (3, self.remove_folder),
            (5, self.link),
            (5, self.chmod),
            (6, self.flip),
            (6, self.delete_and_create),
            (2, self.large),
            (2, self.backup_and_write),
            (2, self.exchange_folders),
        ]

    def act(self) -> None:
        """Do one thing. What the node does at the same moment may get in the way, as it may with any program."""
        self.acts += 1
        dance = self.rng.choices([each for _, each in self._dances], [weight for weight, _ in self._dances])[0]
        try:
            dance()
        except OSError as error:
            told = str(error).replace(f"{self.folder}/", "")  # the same in each life of a seed
            self.chronicle.note(f"{self.name} {dance.__name__}: {told}")

    # ---- choosing

    def _somewhere(self) -> Path:
        """A path that may or may not exist."""
        folder = self.folder
        for _ in range(self.rng.choice((0, 0, 1, 1, 2))):
            folder /= self.rng.choice(FOLDERS)
        if not folder.is_dir() or folder.is_symlink():
            folder = self.folder
        return folder / self.rng.choice(NAMES)

    def _folder(self) -> Path:
        folder = self.folder / self.rng.choice(FOLDERS)
        while self.rng.random() < 0.4:
            folder /= self.rng.choice(FOLDERS)
        return folder

    def _existing(self, kind: Callable[[Path], bool]) -> Path | None:
        found = [path for path in self._walk() if kind(path)]
        return self.rng.choice(found) if found else None

    def _walk(self) -> Iterator[Path]:
        for at, folders, files in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if name != ".meerkat")
            for name in sorted([*folders, *files]):
                yield Path(at, name)

    def _file(self) -> Path | None:
        return self._existing(lambda path: path.is_file() and not path.is_symlink())

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.folder))

    def _data(self, size: int = 0) -> bytes:
        head = f"{self.name} {self.acts} {self.rng.getrandbits(64):016x}\n".encode()
        size = size or self.rng.choice((0, 40, 200, SMALL_BYTES_MAX))
        return head + self.rng.randbytes(size)

    # ---- acts

    def overwrite(self) -> None:
        """As many programs save: truncate, write, sometimes in two steps."""
        self._write(self._file() or self._somewhere(), "overwrites")

    def create(self) -> None:
        path = self._somewhere()
        if not os.path.lexists(path):
            self._write(path, "creates")

    def large(self) -> None:
        self._write(self._file() or self._somewhere(), "fills", self._data(LARGE_BYTES))

    def append(self) -> None:
        path = self._file()
        if path is None:
            return
        by = Written(self.name, self._shown(path), "appends")
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        with os.fdopen(handle, "r+b") as file:
            before = file.read()
            data = self._data()
            self.chronicle.overwrote(value_of(before), by)
            file.write(data)
            file.flush()
            self.chronicle.wrote(value_of(before + data), by)

    def save_by_rename(self) -> None:
        """As editors save: a new file beside, renamed over the old."""
        path = self._file() or self._somewhere()
        if path.is_dir():
            return
        beside = path.with_name(f".{path.name}.{self.acts}.tmp")
        by = Written(self.name, self._shown(path), "saves")
        data = self._data()
        beside.write_bytes(data)
        if self.rng.random() < 0.3:
            time.sleep(0.02)
        self._rename(beside, path, by)
        self.chronicle.wrote(value_of(data), by)

    def backup_and_write(self) -> None:
        """As other editors save: the old one becomes a backup, the new one is written, the backup goes."""
        path = self._file()
        if path is None:
            return
        backup = path.with_name(path.name + "~")
        self._rename(path, backup, Written(self.name, self._shown(backup), "backs up over"))
        self._write(path, "writes anew")
        self._unlink(backup, "drops backup")

    def remove(self) -> None:
        path = self._existing(lambda path: path.is_symlink() or path.is_file())
        if path is not None:
            self._unlink(path, "removes")

    def rename(self) -> None:
        path, to = self._file(), self._somewhere()
        if path is not None and not to.is_dir() and to != path:
            self._rename(path, to, Written(self.name, self._shown(to), "renames over"))
            self.chronicle.note(f"{self.name} renames {self._shown(path)} to {self._shown(to)}")

    def delete_and_create(self) -> None:
        path = self._file()
        if path is not None:
            self._unlink(path, "removes for a moment")
            if self.rng.random() < 0.5:
                time.sleep(self.rng.choice((0.001, 0.01, 0.03)))
            self._write(path, "creates again")

    def link(self) -> None:
        path = self._somewhere()
        target = f"t-{self.name}-{self.acts}"
        by = Written(self.name, self._shown(path), "links")
        if not os.path.lexists(path):
            os.symlink(target, path)
        elif path.is_symlink():
            beside = path.with_name(f".l{self.acts}.tmp")
            os.symlink(target, beside)
            self._rename(beside, path, by)
        else:
            return
        self.chronicle.wrote(value_of_link(target), by)

    def chmod(self) -> None:
        path = self._existing(lambda path: not path.is_symlink())
        if path is not None:
            bits = self.rng.choice(FOLDER_BITS if path.is_dir() else BITS)
            os.chmod(path, bits, follow_symlinks=False) if os.chmod in os.supports_follow_symlinks else path.chmod(bits)
            self.chronicle.note(f"{self.name} chmod {bits:o} {self._shown(path)}")

    def make_folder(self) -> None:
        folder = self._folder()
        folder.mkdir(parents=True, exist_ok=True)
        self.chronicle.note(f"{self.name} mkdir {self._shown(folder)}")
        if self.rng.random() < 0.7:
            self._write(folder / self.rng.choice(NAMES), "creates in new folder")

    def remove_folder(self) -> None:
        folder = self._existing(lambda path: path.is_dir() and not path.is_symlink())
        if folder is not None:
            self._remove_tree(folder)

    def move_folder(self) -> None:
        folder, to = self._existing(lambda path: path.is_dir() and not path.is_symlink()), self._folder()
        if folder is None or os.path.lexists(to) or to.is_relative_to(folder):
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder, to)
        self.chronicle.note(f"{self.name} moves {self._shown(folder)} to {self._shown(to)}")
        if self.rng.random() < 0.3:
            time.sleep(self.rng.choice((0.001, 0.02)))
            os.rename(to, folder)
            self.chronicle.note(f"{self.name} moves {self._shown(to)} back to {self._shown(folder)}")

    def exchange_folders(self) -> None:
        one, other = (self._existing(lambda path: path.is_dir() and not path.is_symlink()) for _ in range(2))
        if one is None or other is None or one.is_relative_to(other) or other.is_relative_to(one):
            return
        folder, beside = os.open(one.parent, os.O_RDONLY), os.open(other.parent, os.O_RDONLY)
        try:
            exchange(folder, one.name, beside, other.name)
            self.chronicle.note(f"{self.name} exchanges {self._shown(one)} and {self._shown(other)}")
        finally:
            os.close(folder)
            os.close(beside)

    def flip(self) -> None:
        """What was a file becomes a folder or a link, and so on round."""
        path = self._existing(lambda path: True)
        if path is None:
            return
        if path.is_symlink() or path.is_file():
            self._unlink(path, "flips")
        else:
            self._remove_tree(path)
        match self.rng.choice(("file", "folder", "link")):
            case "file":
                self._write(path, "flips to file")
            case "folder":
                path.mkdir()
                self.chronicle.note(f"{self.name} flips to folder {self._shown(path)}")
                if self.rng.random() < 0.6:
                    self._write(path / self.rng.choice(NAMES), "fills flipped folder")
            case _:
                target = f"t-{self.name}-{self.acts}"
                os.symlink(target, path)
                self.chronicle.wrote(value_of_link(target), Written(self.name, self._shown(path), "flips to link"))

    # ---- within

    def _write(self, path: Path, how: str, data: bytes = b"") -> None:
        """Open, see what is there, truncate, write."""
        data = data or self._data()
        by = Written(self.name, self._shown(path), how)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            before = file.readall()
            self.chronicle.overwrote(value_of(before), by)
            file.truncate(0)
            file.seek(0)
            if self.rng.random() < 0.2:
                file.write(data[: len(data) // 2])
                time.sleep(self.rng.choice((0.001, 0.05)))
                file.write(data[len(data) // 2 :])
            else:
                file.write(data)
            self.chronicle.wrote(value_of(data), by)

    def _rename(self, path: Path, to: Path, by: Written) -> None:
        if os.path.lexists(to):
            with self._replacing(to, by):
                os.rename(path, to)
            return
        folder, other = os.open(path.parent, os.O_RDONLY), os.open(to.parent, os.O_RDONLY)
        try:
            rename_noreplace(folder, path.name, other, to.name)
        finally:
            os.close(folder)
            os.close(other)

    def _unlink(self, path: Path, how: str) -> None:
        with self._replacing(path, Written(self.name, self._shown(path), how)):
            os.unlink(path)

    def _remove_tree(self, folder: Path) -> None:
        for at, folders, files in os.walk(folder, topdown=False):
            for name in [*files, *(name for name in folders if Path(at, name).is_symlink())]:
                self._unlink(Path(at, name), "removes with folder")
            for name in folders:
                if not Path(at, name).is_symlink():
                    Path(at, name).rmdir()
        folder.rmdir()
        self.chronicle.note(f"{self.name} rmdir {self._shown(folder)}")

    def _replacing(self, path: Path, by: Written) -> "_Replacing":
        return _Replacing(path, by, self.chronicle)


class _Replacing:
    """Around a call that takes away whatever has the name `path`: reads it before, and makes sure of it afterwards."""

    def __init__(self, path: Path, by: Written, chronicle: Chronicle) -> None:
        self._path, self._by, self._chronicle = path, by, chronicle
        self._handle = -1
        self._value = ""

    def __enter__(self) -> None:
        try:
            self._handle = os.open(self._path, os.O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(os.fstat(self._handle).st_mode):
            self._value = value_of_link(os.readlink("", dir_fd=self._handle))
        else:
            with open(f"/proc/self/fd/{self._handle}", "rb") as file:
                self._value = value_of(file.read())

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        gone = False
        if self._handle >= 0:
            gone = os.fstat(self._handle).st_nlink == 0
            os.close(self._handle)
        if kind is not None:
            return
        if gone:
            self._chronicle.overwrote(self._value, self._by)
        else:
            self._chronicle.unsure.append(self._by)
            self._chronicle.note(f"{self._by.node} {self._by.how} {self._by.path}: not what was read")


class Fates:
    """Kills, restarts and freezes nodes.

    Args:
        amnesia: how often a killed node has lost its index as well, or has an older one. What its person does
            meanwhile to a file that nobody else has fetched leaves the pool waiting for bytes that are nowhere: such a
            run may end without quiet, and somebody has to look.
    """

    def __init__(self, pool: Pool, rng: random.Random, chronicle: Chronicle, amnesia: float) -> None:
        self._amnesia = amnesia
        self._saved: dict[str, Path] = {}
        self._pool = pool
        self._rng = rng
        self._chronicle = chronicle
        self.counts: Counter[str] = Counter()

    def strike(self) -> None:
        """Something happens to a node, or it gets over it."""
        node = self._rng.choice(self._pool.nodes)
        if not node.running:
            self._tell("restarts", node)
            self._pool.restart(node)
        elif node.frozen:
            self._tell("thaws", node)
            self._pool.thaw(node)
        elif self._rng.random() < 0.5:
            self._tell("kills", node)
            self._pool.kill9(node)
            if self._rng.random() < self._amnesia:
                self._forget(node)
            if self._rng.random() < 0.5:
                self._pool.restart(node)
        else:
            self._tell("freezes", node)
            self._pool.freeze(node)

    def _forget(self, node: Node) -> None:
        """Keep a copy of the index for later, put an earlier one back, or lose it."""
        metadata = node.folder / ".meerkat"
        saved = self._saved.pop(node.name, None)
        files = [path for path in metadata.iterdir() if path.name.startswith("index.db")]
        if saved is None and self._rng.random() < 0.6:
            self._saved[node.name] = self._pool.private / f"{node.name}-{self.counts['kills']}"
            self._saved[node.name].mkdir()
            for path in files:
                shutil.copy2(path, self._saved[node.name])
            return
        for path in files:
            path.unlink()
        self._tell("makes forget" if saved is None else "sets back", node)
        if saved is not None:
            shutil.copytree(saved, metadata, dirs_exist_ok=True)

    def relent(self) -> None:
        """All nodes run again."""
        for node in self._pool.nodes:
            if not node.running:
                self._tell("restarts", node)
                self._pool.restart(node)
            elif node.frozen:
                self._tell("thaws", node)
                self._pool.thaw(node)

    def _tell(self, what: str, node: Node) -> None:
        self.counts[what] += 1
        self._chronicle.note(f"fate {what} {node.name}")


@dataclass
class Found:
    """What is left when all is quiet."""

    trees: dict[str, Tree]
    in_trees: set[str]
    in_trashes: set[str]


class Torture:
    """Rounds of madness and quiet over one pool.

    Args:
        pool: with its nodes started.
        seed: of everything that people and fates choose (not of what the machine does meanwhile).
    """

    def __init__(
        self, pool: Pool, seed: int, *, pace_s: float = 0.02, fate_s: float = 1.5, amnesia: float = 0.0
    ) -> None:
        self.pool = pool
        self.seed = seed
        self.chronicle = Chronicle()
        rng = random.Random(seed)
        self.people = [
            Person(node.name, node.folder, random.Random(rng.getrandbits(64)), self.chronicle) for node in pool.nodes
        ]
        self.fates = Fates(pool, random.Random(rng.getrandbits(64)), self.chronicle, amnesia)
        self._pace_s = pace_s
        self._fate_s = fate_s
        self._gone: set[str] = set()
        self.rounds = 0
        self.holds = 0
        self.quiet_s: list[float] = []

    def run(self, seconds: float) -> None:
        """One round: people and fates for so long, then quiet, then the reckoning."""
        ends = time.monotonic() + seconds
        threads = [threading.Thread(target=self._work, args=(person, ends)) for person in self.people]
        for thread in threads:
            thread.start()
        try:
            while time.monotonic() < ends:
                time.sleep(min(self._fate_s, max(0.0, ends - time.monotonic())))
                if self._fate_s < seconds:
                    self.fates.strike()
        finally:
            for thread in threads:
                thread.join()
        self.fates.relent()
        self.rounds += 1
        self.reckon()

    def _work(self, person: Person, ends: float) -> None:
        while time.monotonic() < ends:
            person.act()
            time.sleep(person.rng.expovariate(1 / self._pace_s))
            if person.rng.random() < 0.01:
                time.sleep(1.0)

    # ---- the reckoning

    def reckon(self) -> None:
        """Wait until the pool says that it is quiet, and check what is left."""
        began = time.monotonic()
        self.pool.wait_linked()
        self.quiet_s.append(round(time.monotonic() - began, 1))
        self.pool.until("the trees are equal", self._agreed)
        self.pool.wait_settled()
        self.quiet_s.append(round(time.monotonic() - began, 1))
        found = self.find()
        assert not differences(found.trees)
        left = found.in_trees | found.in_trashes
        wrote, over = self.chronicle.written, self.chronicle.overwritten
        unsure = {(each.node, each.path) for each in self.chronicle.unsure}
        lost = [
            f"{by} {value[:16]}\n{self.chronicle.story(value)}"
            for value, by in wrote.items()
            if value not in left and value not in over and (by.node, by.path) not in unsure
        ]
        assert not lost, f"seed {self.seed}: {len(lost)} values are lost:\n" + "\n".join(lost[:10])
        back = [f"{wrote[value]} {value[:16]}\n{self.chronicle.story(value)}" for value in self._gone & found.in_trees]
        assert not back, f"seed {self.seed}: {len(back)} values are back:\n" + "\n".join(back[:10])
        self._gone |= wrote.keys() - found.in_trees
        self.pool.until("the stages are empty", lambda: not any(self._stages().values()))

    def _agreed(self) -> bool:
        """Whether all trees are equal and nobody is asked; people agree to what is held, for here they meant to delete
        that much."""
        asked = [(node, hold) for node in self.pool.live for hold in self.pool.ask("holds", node)]
        for node, hold in asked:
            # It may have closed by itself since: the files came back.
            assert self.pool.cli("holds", "allow", str(hold["id"]), "--folder", node).exit in (0, 4)
            self.holds += 1
        return not asked and not differences(self.pool.trees())

    def _stages(self) -> dict[str, list[str]]:
        return {node.name: sorted(os.listdir(node.folder / ".meerkat" / "stage")) for node in self.pool.nodes}

    def find(self) -> Found:
        trees = self.pool.trees()
        found = Found(trees, set(), set())
        for node in self.pool.nodes:
            for path in node.folder.rglob("*"):
                inside = path.relative_to(node.folder).parts
                if inside[0] != ".meerkat":
                    found.in_trees.update(_values_at(path))
                elif inside[1:2] == ("trash",):
                    found.in_trashes.update(_values_at(path))
                    if path.suffix == ".json":
                        found.in_trashes.add(value_of_link(json.loads(path.read_bytes())["target"]))
        return found

    def idle_cpu(self, seconds: float = 5.0) -> dict[str, float]:
        """Share of a processor that each node uses while nothing happens."""
        before = {node.name: _cpu(node) for node in self.pool.nodes}
        time.sleep(seconds)
        return {node.name: round((_cpu(node) - before[node.name]) / seconds, 4) for node in self.pool.nodes}

    def told(self) -> str:
        acts = sum(person.acts for person in self.people)
        fates = dict(self.fates.counts)
        return f"seed {self.seed}: {acts} acts, {len(self.chronicle.written)} values, {fates}, {self.holds} holds"


def _values_at(path: Path) -> Iterator[str]:
    if path.is_symlink():
        yield value_of_link(os.readlink(path))
    elif path.is_file():
        yield value_of(path.read_bytes())


def _cpu(node: Node) -> float:
    assert node.process is not None
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def keep(pool: Pool, torture: Torture, where: Path) -> None:
    """Keep everything of a failure for somebody to look at."""
    shutil.copytree(pool.base, where, symlinks=True, dirs_exist_ok=True)
    (where / "chronicle.txt").write_text("\n".join(torture.chronicle.lines) + "\n")
