"""What stands in a folder, read by the tests themselves: two nodes agree when their trees are equal.

Deliberately not the program's own reader. Kinds, bytes, permission bits, link targets and the files' modification
times count; the node's own `.meerkat` does not.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

READ_BYTES = 1 << 20
SHOWN_MAX = 20


class Thing(NamedTuple):
    """One name in a tree. `content` is a file's digest or a link's target."""

    kind: str
    mode: int
    mtime_ns: int
    content: str


Tree = dict[str, Thing]


class Reader:
    """Reads trees; a file's bytes again only when its lstat has changed since."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, ...], str] = {}

    def read(self, folder: Path) -> Tree:
        """The tree below `folder`; what vanishes while it is read is left out."""
        return dict(self._things(str(folder), ""))

    def _things(self, folder: str, prefix: str) -> Iterator[tuple[str, Thing]]:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            return
        for entry in entries:
            if entry.name == ".meerkat" and not prefix:
                continue
            try:
                thing = self._thing(entry)
            except OSError:
                continue
            yield prefix + entry.name, thing
            if thing.kind == "folder":
                yield from self._things(entry.path, f"{prefix}{entry.name}/")

    def _thing(self, entry: os.DirEntry[str]) -> Thing:
        seen = entry.stat(follow_symlinks=False)
        mode = stat.S_IMODE(seen.st_mode)
        if stat.S_ISLNK(seen.st_mode):
            return Thing("link", 0, 0, os.readlink(entry.path))
        if stat.S_ISDIR(seen.st_mode):
            return Thing("folder", mode, 0, "")
        if not stat.S_ISREG(seen.st_mode):
            return Thing("special", mode, 0, "")
        key = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        if key not in self._digests:
            with open(entry.path, "rb") as file:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return Thing("file", mode, seen.st_mtime_ns, self._digests[key])


def differences(trees: Mapping[str, Tree]) -> list[str]:
    """Where the named trees differ, one line for each path; empty when they are equal."""
    found = []
    for path in sorted({path for tree in trees.values() for path in tree}):
        things = {name: tree.get(path) for name, tree in trees.items()}
        if len(set(things.values())) > 1:
            shown = ", ".join(f"{name}: {_words(thing)}" for name, thing in things.items())
            found.append(f"{path!r}: {shown}")
    return found


def _words(thing: Thing | None) -> str:
    if thing is None:
        return "missing"
    return f"{thing.kind} {thing.mode:o} {thing.mtime_ns} {thing.content[:16]!r}"
