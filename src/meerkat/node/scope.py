"""Which paths a touched path stands for, and which of them are worth a look.

A folder that came stands for all that is in it, one that went for all that was, and what this node has just put down
itself for nothing. Runs in worker threads; what it finds out by the way is told to the hub in the event loop.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial

from meerkat.core.ignore import IGNORE_FILE
from meerkat.disk.root import Root, stat_of
from meerkat.disk.scan import Sight, Unseen, walk
from meerkat.model.limits import LOOK_AHEAD_PATHS, SCAN_BATCH_PATHS_MAX
from meerkat.model.path import ROOT, RelPath, ancestors, is_below, name, parent, tree_key
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Base, Kind, Stat
from meerkat.node.hub import Hub
from meerkat.node.ports import View
from meerkat.node.rules import Rules


class Scope:
    """For one folder. Made in the event loop."""

    def __init__(self, root: Root, rules: Rules, hub: Hub) -> None:
        self._root = root
        self._rules = rules
        self._hub = hub
        self._loop = asyncio.get_running_loop()

    def expand(self, due: list[RelPath], busy: list[RelPath], arrived: set[RelPath], view: View) -> list[list[RelPath]]:
        """In a worker thread: the paths that the touched ones stand for, in tree order, in batches.

        Args:
            busy: claimed paths at or below the touched ones. What was put down there and is not recorded yet may have
                been moved away together with its folder, so it has to be looked at, too.
            arrived: folders in which something may have changed unheard, though they are those that stood there.
        """
        if self._root.naming.folds:  # whoever wrote to it may have called it otherwise than the folder does
            due = list(dict.fromkeys([*due, *filter(None, map(self._root.spelled, due))]))
        found: set[RelPath] = set()
        above_found: set[RelPath] = set()  # kept apart: if they were touched themselves, they still stand for more
        touched = set(due)
        below: dict[RelPath, list[RelPath]] = {}
        for each in busy:
            for top in touched.intersection((each, *ancestors(each))):
                below.setdefault(top, []).append(each)
        for number, path in enumerate(due):
            if number % LOOK_AHEAD_PATHS == 0:
                view.look_ahead(due[number : number + LOOK_AHEAD_PATHS])
            if path in found or self._rules.ignored(path):
                continue
            try:
                stat = self._root.lstat(path)
            except PathBlocked as error:
                self.call_soon(partial(self._hub.trouble, error.problem, inward=False))
                continue
            base = view.base(path)
            if self._is_echo(path, base, stat):
                continue
            same = stat is not None and base is not None and base.stat.inode == stat.inode and path not in arrived
            if not same:
                found.update(below.get(path, ()))
            if stat is None:
                if base is not None and base.content.kind is Kind.FOLDER:
                    found.update(each for each, _ in view.bases(path))
                elif base is not None or path == IGNORE_FILE:  # the rules went on a member's word
                    found.add(path)
                elif self._hub.has_problem(path):
                    self.call_soon(partial(self._hub.healed, path))
                if self._hub.unshared():
                    self.call_soon(partial(self.heal_below, path, frozenset(), ()))
                continue
            is_folder = stat.kind is Kind.FOLDER
            if is_folder:
                self._list_unshared(path)
            if path == ROOT:
                continue  # touched for a name that is no path; the folder itself has no entry
            found.add(path)
            for above in ancestors(path):
                known = view.base(above)
                if above in found or above in above_found or (known and known.content.kind is Kind.FOLDER):
                    break  # what was a file or a link and is a folder now is told before what is in it
                above_found.add(above)
            if base is not None and base.content.kind is Kind.FOLDER and (not is_folder or not same):
                found.update(each for each, _ in view.bases(path))
            if is_folder and not same:
                found.update(each for each, _ in self.walked(path))
        ordered = sorted(found | above_found, key=tree_key)
        return [ordered[at : at + SCAN_BATCH_PATHS_MAX] for at in range(0, len(ordered), SCAN_BATCH_PATHS_MAX)]

    def echoes(self, recorded: Mapping[RelPath, Base]) -> set[RelPath]:
        """In a worker thread: those of the paths, with their bases as recorded moments ago, of which there is nothing
        new to say. Most of what the watch tells during a large transfer is what this node has just put down itself, so
        they are looked at folder by folder, and the index is not asked."""
        if self._root.naming.folds:
            return set()
        below: dict[RelPath, list[RelPath]] = {}
        for path in recorded:
            below.setdefault(parent(path), []).append(path)
        found: set[RelPath] = set()
        for folder, paths in below.items():
            try:
                handle = self._root.open_folder(folder)
            except OSError:
                continue
            try:
                for path in paths:
                    stat = _lstat(handle, name(path))
                    if self._is_echo(path, recorded[path], stat):
                        found.add(path)
            finally:
                os.close(handle)
        return found

    def _is_echo(self, path: RelPath, base: Base | None, stat: Stat | None) -> bool:
        """What is there is what this node last put or saw there, to the lstat: no look would find more. The ignore
        rules are looked at all the same, since they are read then, whoever wrote them."""
        return (
            path != IGNORE_FILE
            and base is not None
            and base.stat == stat
            and not base.racy
            and base.stat.kind is not Kind.FOLDER
            and not self._hub.has_problem(path)
        )

    def _list_unshared(self, folder: RelPath) -> None:
        """In a worker thread: names right in a folder that cannot be shared come with no event of their own (they are
        no paths), nor does their going away: what is there now is told, what was told before is healed."""
        skip = self._rules.skip
        found = walk(self._root, folder, lambda each, is_folder: each != folder and (is_folder or skip(each, False)))
        problems = [each for each in found if isinstance(each, Problem)]
        there = {problem.path for problem in problems}
        for problem in self._hub.unshared():
            if problem.path.rpartition("/")[0] == folder and problem.path not in there:
                try:
                    self._root.lstat(RelPath(problem.path))
                except PathBlocked as error:  # a folder on which something is mounted
                    problems.append(error.problem)
        self.call_soon(partial(self._listed, folder, problems))

    def _listed(self, folder: RelPath, problems: list[Problem]) -> None:
        there = {problem.path for problem in problems}
        for problem in self._hub.unshared():
            if (
                problem.reason is Reason.NAME_NOT_ALLOWED
                and problem.path.rpartition("/")[0] == folder
                and problem.path not in there
            ):
                self._hub.healed(problem.path)
        for problem in problems:
            self._hub.trouble(problem, inward=False)

    def heal_below(self, under: RelPath, told: Set[str], unseen: Sequence[RelPath]) -> None:
        """What could not be shared at or below `under` and is not there any more is no problem any more.

        Args:
            told: what was found there just now that cannot be shared.
            unseen: where nobody could look.
        """
        for problem in self._hub.unshared():
            path = RelPath(problem.path)
            if (
                problem.reason is Reason.NAME_NOT_ALLOWED
                and path not in told
                and (path == under or is_below(path, under))
                and not any(is_below(path, each) for each in unseen)
            ):
                self._hub.healed(path)

    def walked(
        self, under: RelPath, unseen: list[RelPath] | None = None, told: set[str] | None = None
    ) -> Iterator[tuple[RelPath, Stat]]:
        """What is shared at and below `under`; what cannot be is told to the hub, and noted in `unseen` and `told`."""
        for each in walk(self._root, under, self._rules.skip):
            if told is not None and not isinstance(each, tuple):
                told.add(each.problem.path if isinstance(each, Unseen) else each.path)
            if isinstance(each, Unseen):
                if unseen is not None:
                    unseen.append(each.path)
                self.call_soon(partial(self._hub.trouble, each.problem, inward=False))
            elif isinstance(each, Problem):
                self.call_soon(partial(self._hub.trouble, each, inward=False))
            else:
                yield each

    def shared(self, sights: list[Sight]) -> list[Sight]:
        """In a worker thread: without what has gone and was kept out."""
        return [sight for sight in sights if sight.base is not None or not self.kept_out(sight.path)]

    def kept_out(self, path: RelPath) -> bool:
        """In a worker thread: it is ignored, and nothing is told of it, not that it has gone either; unless it went
        with a folder that is shared, which would have to come back for it (R13)."""
        if not self._rules.ignored(path):
            return False
        above = next((each for each in ancestors(path) if not self._rules.ignored(each)), ROOT)
        try:
            return self._root.lstat(above) is not None
        except PathBlocked:
            return True

    def ignored(self, path: RelPath) -> bool:
        """What is at the path is not shared from here."""
        return self._rules.ignored(path)

    def call_soon(self, call: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(call)


def is_other_folder(before: Base | None, now: Base | None) -> bool:
    """True when a folder stood there, and it is not the one that stands there now."""
    if before is None or before.content.kind is not Kind.FOLDER:
        return False
    return now is None or now.content.kind is not Kind.FOLDER or now.stat.inode != before.stat.inode


def is_other_kind(now: Base | None) -> bool:
    """True when something stands there that is no folder."""
    return now is not None and now.content.kind is not Kind.FOLDER


def all_below(tops: list[RelPath], view: View) -> list[tuple[RelPath, bool]]:
    """What was last seen in these folders: path, and whether it was a file or a link."""
    return [
        (path, base.content.kind is not Kind.FOLDER) for top in tops for path, base in view.bases(top) if path != top
    ]


def _lstat(folder: int, last: str) -> Stat | None:
    try:
        return stat_of(os.stat(last, dir_fd=folder, follow_symlinks=False))
    except OSError:
        return None
