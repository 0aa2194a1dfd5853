"""What must hold, looked at from outside: by readers at any moment, and by the reckoning when all is quiet."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3
from e2e import torture
from e2e.torture import value_of, value_of_link
from e2e.tree import Reader, Tree, differences
from world.place import Place

from meerkat.model.limits import HIST_MARKS_MAX
from meerkat.model.path import MARKER, RelPath
from meerkat.model.problem import Reason
from meerkat.model.version import Kind
from meerkat.node.node import Node
from meerkat.node.ports import View

if TYPE_CHECKING:
    from world.world import World

IDLE_S = 60.0
FRAMES_IDLE_MAX = 70  # on one link in one direction in IDLE_S: pings, their answers, and summaries


class Oracle:
    """Adds to the world's violations whatever breaks a promise."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._reader = Reader()
        self._gone: set[str] = set()
        self._hopeless: set[str] = set()
        self._there_at = 0.0
        self._there: set[bytes] = set()

    def tree(self, place: Place) -> Tree:
        return self._reader.read(place.folder)

    def look(self, place: Place) -> None:
        """G3: whatever a reader finds in a tree is what somebody wrote, all of it."""
        files = sorted(place.worker.files())
        for path in self._world.dice.sample(files, min(3, len(files))):
            data = Path(path).read_bytes()
            if data and value_of(data) not in self._world.chronicle.written and not path.endswith(".tmp"):
                self._world.violations.append(
                    f"G3: {place.name} {path} holds what nobody wrote: {len(data)} {data[:60]!r}"
                )

    def is_hopeless(self, node: Node, view: View, path: RelPath) -> bool:
        """After a loss of an index: whether the path waits for bytes that a person had overwritten before anybody
        fetched them. Only a person can end that (rule R7, the last sentences)."""
        problem = node.hub.problem(path)
        if problem is None or problem.reason is not Reason.NO_SOURCE_ONLINE:
            return False
        if self._there_at != self._world.loop.time():
            self._there_at, self._there = self._world.loop.time(), self._everywhere()
        wanted = {bytes(each.digest) for each in view.siblings(path).values() if each.kind is Kind.FILE}
        if wanted <= self._there:
            return False
        self._hopeless.add(path)
        return True

    def _everywhere(self) -> set[bytes]:
        """The digests of all files that there are on any disk."""
        return {
            blake3(each.read_bytes()).digest()
            for place in self._world.places
            for each in place.folder.rglob("*")
            if each.is_file() and not each.is_symlink() and each.name != "index.db"
        }

    def reckon(self, left: Tree | None, alone: Place | None) -> None:
        trees = {place.name: self._reader.read(place.folder) for place in self._world.places}
        told = self._world.violations
        hoped = {
            name: {path: thing for path, thing in tree.items() if path not in self._hopeless}
            for name, tree in trees.items()
        }
        told.extend(f"G1: {line}" for line in differences(hoped)[:10])
        # Who works alone and loses its index brings back what it had deleted; what others lose is all with the one,
        # but where little is remembered of what was superseded, they may make copies of it.
        unsure, forgetting = self._world.unsure_of, self._world.weather.marks < HIST_MARKS_MAX
        sure = (
            alone is not None and alone.name not in unsure and not (unsure and forgetting) and not self._world.refusals
        )
        if left is not None and sure and not self._hopeless and not self._world.refusals:
            told.extend(f"lonely: {line}" for line in differences({"left": left, **trees})[:10])
        in_trees: set[str] = set()
        in_trashes: set[str] = set()
        for place in self._world.places:
            for path in place.folder.rglob("*"):
                inside = path.relative_to(place.folder).parts
                if inside[0] != MARKER:
                    in_trees.update(torture._values_at(path))
                elif inside[1:2] == ("trash",):
                    in_trashes.update(torture._values_at(path))
                    if path.suffix == ".json":
                        in_trashes.update(_targets(path.read_bytes()))
            stage = sorted(os.listdir(place.folder / MARKER / "stage"))
            if stage and not self._hopeless:  # while a path waits, what was fetched for it stays
                told.append(f"G6: left in the stage of {place.name}: {stage}")
        wrote, over = self._world.chronicle.written, self._world.chronicle.overwritten
        # What nobody knowingly overwrote has to be in a tree, also what came through a handle to a file that had been
        # replaced. The trash will do after the loss of an index, and where power loss ate the note that says where a
        # file stood, but not the handle on it, as only worlds can.
        lost = [
            value
            for value, by in wrote.items()
            if value not in over
            and value not in in_trees
            and not (
                value in in_trashes
                and (self._world.accidents or (by.how == "writes late" and self._world.weather.power))
            )
        ]
        told.extend(f"G2: {wrote[value]} is lost:\n{self._world.chronicle.story(value)}" for value in lost[:5])
        back = sorted(self._gone & in_trees)
        told.extend(f"G4: {wrote[value]} is back:\n{self._world.chronicle.story(value)}" for value in back[:5])
        self._gone |= wrote.keys() - in_trees
        self._world.chronicle.note(
            f"reckoned {len(in_trees)} in trees, {len(in_trashes)} in trashes, {len(wrote)} written"
        )

    async def listen(self) -> None:
        """Nothing happens while nothing happens."""
        before = [dict(place.node.books.context) for place in self._world.places if place.node is not None]
        self._world.net.traffic.clear()
        await asyncio.sleep(IDLE_S)
        after = [dict(place.node.books.context) for place in self._world.places if place.node is not None]
        if before != after:
            self._world.violations.append("G11: idle nodes write")
        loud = {
            pair: count
            for pair, count in self._world.net.traffic.items()
            if count > FRAMES_IDLE_MAX * (2 if self._hopeless else 1)
        }
        if loud:
            self._world.violations.append(f"idle nodes talk: {loud} frames in {IDLE_S} s")


def _targets(note: bytes) -> Iterator[str]:
    text = note.decode(errors="replace")
    if '"target": "' in text:
        yield value_of_link(text.split('"target": "')[1].split('"')[0])
