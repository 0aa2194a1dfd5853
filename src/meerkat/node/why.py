"""Why a path is not everywhere: for each node where it stands, the cause, and one next step (nothing is silent).

What is said of this node comes from its own index and is exact. What is said of another comes from what that node last
told of itself: a vector that covers what is on its disk, how many paths wait there, and the first few with their
reasons. A node's vector stays below its first path that waits, so a path that it does not cover may be there all the
same; where that cannot be told apart, the answer says so instead of guessing.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import islice

from msgspec import Struct

from meerkat.core.plan import Settled
from meerkat.core.resolve import Outlook, copied_from
from meerkat.core.resolve import view as outlook_of
from meerkat.disk.root import Root
from meerkat.model.dot import dominates
from meerkat.model.fault import Exit, Fault
from meerkat.model.ids import NodeId
from meerkat.model.limits import WHY_HISTORY_ROWS, WHY_LOOKED_MAX, WHY_ROWS_MAX
from meerkat.model.member import NodeState, Summary
from meerkat.model.path import ROOT, RelPath, ancestors
from meerkat.model.problem import PathBlocked, Problem, Reason, next_step
from meerkat.model.version import Entry, Siblings
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.gossip import Gossip
from meerkat.node.history import version_name
from meerkat.node.hub import Hub, now_text
from meerkat.node.ports import View
from meerkat.node.status import Status

Json = dict[str, object]
HELD_KINDS = frozenset({Reason.HELD.value, Reason.MARKER_MISSING.value})
"""Reasons of which one stands for many paths, or for none that waits."""


class Known(Struct, frozen=True):
    """What the index says of one path at one instant."""

    path: RelPath
    siblings: Siblings
    outlook: Outlook
    settled: bool
    shown: bool
    held: bool
    copies: tuple[RelPath, ...]
    at_ms: int | None


class Why:
    """Answers `meerkat why`.

    Args:
        ignored: whether whatever could be at the path is ignored here.
    """

    def __init__(
        self,
        self_id: NodeId,
        root: Root,
        books: Books,
        hub: Hub,
        gossip: Gossip,
        status: Status,
        ignored: Callable[[RelPath], bool],
    ) -> None:
        self._self_id = self_id
        self._root = root
        self._books = books
        self._hub = hub
        self._gossip = gossip
        self._status = status
        self._ignored = ignored

    async def path(self, path: RelPath) -> Json:
        """Where one path stands, node by node.

        Raises:
            Fault: not_found, when neither pool nor disk know of it.
        """
        known = await self._books.read(partial(_known, path))
        ignored = self._ignored(path)
        problem = self._problem(path)
        if not known.siblings and not known.outlook.implied and not ignored and problem is None:
            await self._look(path, known)
        winner = known.outlook.winner
        members = [self._here(known, ignored, problem) if row["self"] else self._there(known.siblings, path, row)
                   for row in self._status.nodes()]  # fmt: skip
        shown: Json = {
            "path": path,
            "everywhere": all(row["state"] == "has_it" for row in members),
            "kind": winner.version.kind.name.lower() if winner else ("deleted" if known.siblings else None),
            "version": version_name(winner.version) if winner else None,
            "size": winner.version.size if winner else 0,
            "mtime": now_text(winner.version.mtime_ns / 1e9) if winner and winner.version.mtime_ns else None,
            "written_by": None,
            "heard_at": now_text(known.at_ms / 1000) if known.at_ms is not None else None,
            "conflict_copies": list(known.copies),
            "unsettled": len(known.outlook.losers),
            "ignored": ignored,
            "held": known.held,
            "members": members,
        }
        dots = (winner.dots if winner else None) or known.siblings.keys()
        if dots:
            node = max(dots).author.node
            names = {row["node"]: row["name"] for row in self._status.nodes()}
            shown["written_by"] = {"node": node, "name": names.get(node, node[:8])}
        return shown

    async def _look(self, path: RelPath, known: Known) -> None:
        """The pool does not know the path: is there anything to be told of it?"""
        try:
            there = await asyncio.to_thread(self._root.lstat, path)
        except PathBlocked as blocked:
            raise Fault(
                "not_shared",
                f"{path!r} is not shared",
                cause=blocked.problem.text,
                hint=blocked.problem.hint or next_step(blocked.problem.reason),
                exit_code=Exit.NOT_FOUND,
            ) from None
        except OSError:
            there = None
        if there is None and not known.shown:
            raise Fault(
                "not_found",
                f"neither this folder nor the pool has {path!r}",
                hint="meerkat history --deleted shows what there was",
                exit_code=Exit.NOT_FOUND,
            )
        if there is not None and not known.shown:
            raise Fault(
                "not_looked_at",
                f"{path!r} is here, and was not looked at yet",
                cause="a file is taken in once it has been quiet for a moment",
                hint="meerkat scan looks at once",
                exit_code=Exit.ERROR,
            )

    async def everything(self) -> Json:
        """Every path that is not on every node, the first few, and how many more there are."""
        own = [
            _row(problem.path, self._me(), "blocked", problem.reason.value, problem.text, problem.hint)
            for problem in self._hub.problems()
        ]
        named = {row["path"] for row in own}
        waiting, count = await self._books.read(_waiting)
        for path in waiting:
            problem = self._problem(path)
            if path in named or self._ignored(path):
                continue
            own.append(
                _row(path, self._me(), "blocked", problem.reason.value, problem.text, problem.hint)
                if problem is not None
                else _row(path, self._me(), "behind", None, "it is being fetched or put down", "wait a moment")
            )
        rows, more = own, max(0, count - len(waiting))
        unknown: list[Json] = []
        at_least = False
        for member in self._status.nodes():
            if member["self"]:
                continue
            summary = self._gossip.latest.get(NodeId(str(member["node"])))
            if summary is None:
                unknown.append({key: member[key] for key in ("node", "name", "state", "last_seen", "cause")})
                continue
            lacking = await self._books.read(partial(_lacking, summary))
            at_least = at_least or len(lacking) >= WHY_LOOKED_MAX
            for entry in lacking:
                found = self._there(entry.siblings, entry.path, member)
                if found["state"] != "has_it":
                    rows.append({"path": entry.path} | found)
            told = {entry.path for entry in lacking}
            rows += [
                _row(path, member, "blocked", reason, text, next_step(reason))
                for path, reason, text in summary.reasons
                if path not in told and member["state"] != NodeState.OFFLINE.value
            ]
        rows.sort(key=lambda row: row["state"] != "blocked")
        return {
            "paths": rows[:WHY_ROWS_MAX],
            "more": more + max(0, len(rows) - WHY_ROWS_MAX),
            "at_least": at_least,
            "unknown": unknown,
        }

    # ---- one node

    def _me(self) -> Json:
        return next(row for row in self._status.nodes() if row["self"])

    def _problem(self, path: RelPath) -> Problem | None:
        """What keeps the path here: its own trouble, or that of the nearest folder above it that has any."""
        for each in (path, *sorted(ancestors(path), key=len, reverse=True)):
            problem = self._hub.problem(each)
            if problem is not None:
                return problem
        return None

    def _here(self, known: Known, ignored: bool, problem: Problem | None) -> Json:
        me = self._me()
        if known.held:
            text = "it is gone from this disk, with much else: nobody was told until a person agrees"
            return _row(None, me, "held", Reason.HELD.value, text, "meerkat holds")
        own = problem is not None and problem.path == known.path
        if problem is not None and problem.reason is Reason.NO_SOURCE_ONLINE:
            text, step = self._sourceless(known, problem)
            return _row(None, me, "blocked", problem.reason.value, text, step)
        if problem is not None and (own or not known.settled):
            return _row(None, me, "blocked", problem.reason.value, problem.text, problem.hint)
        if ignored:
            rules = ".meerkatignore or .meerkat/ignore"
            return _row(None, me, "ignored", None, f"the rules of {rules} leave it out here", f"edit {rules}")
        if known.settled:
            return _row(None, me, "has_it", None, "", "")
        if self._books.recovering:
            text = "this node has lost its index and learns it anew from another"
            return _row(None, me, "behind", None, text, "link it with a member that is up")
        return _row(None, me, "behind", None, "it is being fetched or put down", "wait a moment")

    def _sourceless(self, known: Known, problem: Problem) -> tuple[str, str]:
        """Who was asked in vain, and who of those that are away said last that it had the path, or wrote it."""
        winner = known.outlook.winner
        writers = {dot.author.node for dot in winner.dots} if winner else set()
        rows = [row for row in self._status.nodes() if not row["self"]]
        asked = [str(row["name"]) for row in rows if row["link"] is not None]
        away = [row for row in rows if row["link"] is None]
        having = [
            str(row["name"])
            for row in away
            if NodeId(str(row["node"])) in writers or self._there(known.siblings, known.path, row)["state"] == "has_it"
        ]
        text = f"{problem.text}; asked: {', '.join(asked) or 'nobody, no member is linked'}"
        if having:
            return f"{text}; offline, and had it: {', '.join(having)}", f"start {' or '.join(having)}"
        return text, problem.hint if away else "put the file there again from a backup, or give it up: meerkat abandon"

    def _there(self, siblings: Siblings, path: RelPath, member: Json) -> Json:
        summary = self._gossip.latest.get(NodeId(str(member["node"])))
        dots = {dot.author: 0 for dot in siblings}
        for dot in siblings:
            dots[dot.author] = max(dots[dot.author], dot.seq)
        away = member["state"] == NodeState.OFFLINE.value
        if not dots:
            text = "nothing was told to the pool of this path itself; a folder comes with what is in it"
            return _row(None, member, "unknown", None, text, "")
        if summary is not None and dominates(summary.complete, dots):
            return _row(None, member, "has_it", None, "as it last said of itself" if away else "", "")
        if away:
            last = f": {member['cause']}" if member["cause"] else ""
            return _row(None, member, "offline", None, f"it is not reachable{last}", "start it there, or wait")
        if summary is None:
            return _row(None, member, "unknown", None, "it has not said yet how far it is", "wait a moment")
        if not dominates(summary.context, dots):
            return _row(None, member, "behind", None, "it has not heard of it yet", "wait a moment")
        for where, reason, text in summary.reasons:
            if where == path or (where and path.startswith(f"{where}/") and reason != Reason.HELD.value):
                return _row(None, member, "blocked", reason, text, next_step(reason))
        if _tells_all(summary):
            return _row(None, member, "has_it", None, "", "")
        first = f": {summary.reasons[0][2]} ({summary.reasons[0][0]})" if summary.reasons else ""
        text = f"it is on its way there, or comes after other paths that wait there{first}"
        return _row(None, member, "behind", None, text, "wait a moment, or ask there: meerkat why")


def _tells_all(summary: Summary) -> bool:
    """True when every path that waits at the node is among those that it names."""
    named = {path for path, reason, _ in summary.reasons if reason not in HELD_KINDS}
    return len(named) == summary.behind_files == len(summary.reasons) and bool(named)


def _row(path: str | None, member: Json, state: str, reason: str | None, cause: str, step: str) -> Json:
    row: Json = {} if path is None else {"path": path}
    return row | {
        "node": member["node"],
        "name": member["name"],
        "self": member["self"],
        "state": state,
        "reason": reason,
        "cause": cause,
        "next": step,
        "since": member["last_seen"] if state == "offline" else None,
    }


def _known(path: RelPath, view: View) -> Known:
    siblings = view.siblings(path)
    step, base = ledger.step_at(view, path, siblings)
    outlook = outlook_of(siblings, view.has_living_below(path))
    noted = next((each for each in view.changes(path, WHY_HISTORY_ROWS) if each.dot in siblings), None)
    return Known(
        path,
        siblings,
        outlook,
        isinstance(step, Settled),
        base is not None,
        view.is_held(path),
        tuple(entry.path for entry in view.copies() if copied_from(entry.path) == path),
        None if noted is None else noted.at_ms,
    )


def _waiting(view: View) -> tuple[list[RelPath], int]:
    paths = view.pending(ROOT, WHY_ROWS_MAX)
    return paths, view.pending_count()


def _lacking(summary: Summary, view: View) -> list[Entry]:
    """What the node's vector does not cover, the first few thousand."""
    if dominates(summary.complete, view.context()):
        return []
    return list(islice(view.entries_beyond(summary.complete), WHY_LOOKED_MAX))
