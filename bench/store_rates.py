"""How quick the index is on this machine: `python bench/store_rates.py [FILES]`. Prints rates per
second, asserts nothing."""

import pathlib
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter

from meerkat.model.dot import Author, Dot
from meerkat.model.ids import Digest, NodeId
from meerkat.model.path import ROOT, RelPath
from meerkat.model.version import Base, Entry, Kind, Stat, Version
from meerkat.store.index import Index

HOME = Author(NodeId("a" * 32), 1)
FILES_PER_FOLDER = 100
TRANSACTION_FILES = 1000


class Rates(dict[str, float]):
    """What was measured, in order."""

    def measure(self, what: str, count: int, work: Callable[[], object]) -> None:
        """Run `work` and keep how many of `count` things it did per second."""
        start = perf_counter()
        work()
        self[what] = count / (perf_counter() - start)


def path_of(number: int) -> RelPath:
    return RelPath(f"folder-{number // FILES_PER_FOLDER:05}/sub/file-{number:07}.txt")


def version_of(number: int, height: int = 1) -> Version:
    digest = Digest(number.to_bytes(16, "big") + height.to_bytes(16, "big"))
    return Version(Kind.FILE, 1000, 1_700_000_000_000_000_000, 0o644, digest, height=height)


def fill(index: Index, versions: list[tuple[RelPath, Version]]) -> None:
    for start in range(0, len(versions), TRANSACTION_FILES):
        with index.write() as tx:
            for path, version in versions[start : start + TRANSACTION_FILES]:
                tx.put_siblings(path, {Dot(HOME, tx.next_seq()): version})


def place(index: Index, count: int) -> None:
    for start in range(0, count, TRANSACTION_FILES):
        with index.write() as tx:
            for number in range(start, min(count, start + TRANSACTION_FILES)):
                version = version_of(number)
                stat = Stat(Kind.FILE, version.size, version.mtime_ns, version.mtime_ns, number, version.mode)
                tx.put_base(path_of(number), Base(version.content, stat))
                tx.clear_pending(path_of(number))


def pull(index: Index, entries: list[Entry]) -> None:
    with index.write() as tx:
        tx.join_context({HOME: 2 * len(entries)}, {})
        for entry in entries:
            tx.put_siblings(entry.path, entry.siblings)


def single_writes(index: Index, count: int) -> None:
    for number in range(count):
        with index.write() as tx:
            tx.put_siblings(path_of(number), {Dot(HOME, tx.next_seq()): version_of(number, 9)})


def rates(count: int) -> Rates:
    """Rates per second with `count` files in the index; the last figure is bytes per path."""
    found = Rates()
    files = [(path_of(number), version_of(number)) for number in range(count)]
    edits = [(path_of(number), version_of(number, 2)) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        index = Index.open(pathlib.Path(folder) / "index.db")
        with index.write() as tx:
            tx.renew_author(HOME)
        found.measure("put_siblings, new", count, lambda: fill(index, files))
        with index.read() as view:
            found.measure("complete, all pending", count, view.complete)
        found.measure("put_base + clear_pending", count, lambda: place(index, count))
        found.measure("put_siblings, edits", count, lambda: fill(index, edits))
        with index.read() as view:
            entries: list[Entry] = []
            found.measure("entries_beyond, everything", count, lambda: entries.extend(view.entries_beyond({})))
            recent = {HOME: 2 * count - count // 10}
            found.measure("entries_beyond, a tenth", count // 10, lambda: list(view.entries_beyond(recent)))
            found.measure("entries", count, lambda: list(view.entries()))
            found.measure("bases", count, lambda: list(view.bases()))
            found.measure("pending, pages", count, lambda: view.pending(ROOT, count))
        other = Index.open(pathlib.Path(folder) / "other.db")
        found.measure("a long pull, merged at once", count, lambda: pull(other, entries))
        other.close()
        found.measure("durable single writes", 200, lambda: single_writes(index, 200))
        index.close()
        found["bytes per path"] = (pathlib.Path(folder) / "index.db").stat().st_size / count
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    for what, figure in rates(count).items():
        print(f"{what:<28}{figure:>12,.0f}")


if __name__ == "__main__":
    main()
