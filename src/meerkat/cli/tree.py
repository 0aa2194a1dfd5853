"""What a folder holds, as far as two folders must agree, and where two of them differ.

Used by the demo to judge the node's work from outside: it reads the disk and nothing that the node says.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from meerkat.model.path import MARKER

READ_BYTES = 1 << 20


class Item(NamedTuple):
    """One thing in a tree. `ident` is a file's digest (hex) or a link's target."""

    kind: str
    mode: int
    ident: str


Tree = dict[str, Item]


class TreeReader:
    """Reads trees, and reads a file again only when its lstat has changed since."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, int, int, int, int], str] = {}

    def forget(self) -> None:
        """Believe no digest from before: the next reading reads every byte."""
        self._digests.clear()

    def read(self, folder: Path) -> Tree:
        """The tree below `folder`, without `.meerkat`. What vanishes meanwhile is left out."""
        return dict(self._items(folder, ""))

    def _items(self, folder: Path, prefix: str) -> Iterator[tuple[str, Item]]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return
        for entry in entries:
            if entry.name == MARKER:
                continue
            path = prefix + entry.name
            try:
                status = entry.stat(follow_symlinks=False)
                item = self._item(entry, status)
            except OSError:
                continue
            yield path, item
            if item.kind == "folder":
                yield from self._items(Path(entry.path), path + "/")

    def _item(self, entry: os.DirEntry[str], status: os.stat_result) -> Item:
        mode = stat.S_IMODE(status.st_mode) & 0o777
        if stat.S_ISLNK(status.st_mode):
            return Item("link", 0, os.readlink(entry.path))
        if stat.S_ISDIR(status.st_mode):
            return Item("folder", mode, "")
        if not stat.S_ISREG(status.st_mode):
            return Item("other", mode, "")
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if key not in self._digests:
            self._digests[key] = _digest(entry.path)
        return Item("file", mode, self._digests[key])


def _digest(path: str) -> str:
    hasher = blake3()
    with open(path, "rb") as file:
        while data := file.read(READ_BYTES):
            hasher.update(data)
    return hasher.hexdigest()


def differences(trees: Mapping[str, Tree], limit: int = 10) -> list[str]:
    """How the named trees differ, in words; empty when they are equal."""
    paths = sorted({path for tree in trees.values() for path in tree})
    found = []
    for path in paths:
        items = {name: tree.get(path) for name, tree in trees.items()}
        if len(set(items.values())) > 1:
            shown = ", ".join(f"{name}: {_words(item)}" for name, item in items.items())
            found.append(f"{path}: {shown}")
            if len(found) == limit:
                break
    return found


def _words(item: Item | None) -> str:
    if item is None:
        return "missing"
    return f"{item.kind} {item.mode:o} {item.ident[:12]}".rstrip()
