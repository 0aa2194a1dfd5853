"""The verbs with which people look back and put things right: history, restore, diff, resolve, abandon, scrub."""

import time
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from meerkat.model.fault import Exit, Fault
from meerkat.model.limits import HISTORY_ROWS_MAX, RESTORE_ROWS_SHOWN_MAX
from meerkat.model.path import ROOT, RelPath
from meerkat.node.abandon import Abandon
from meerkat.node.arguments import Json, number, paths_in, text
from meerkat.node.history import content_name, kept_by_content, rows, version_name
from meerkat.node.undelete import Regained
from meerkat.wire.control import Result

if TYPE_CHECKING:
    from meerkat.node.node import Node

Answers = AsyncIterator[Json | Result]


class Recall:
    """Answers these verbs for one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._giving_up = Abandon(node.books, node.asking, node.transfer, node.outward, node.status, node.inward.fresh)
        self.verbs: dict[str, Callable[[Json], Answers]] = {
            "history": self._history,
            "restore": self._restore,
            "diff": self._diff,
            "resolve": self._resolve,
            "abandon": self._abandon,
            "scrub": self._scrub,
            "holds": self._holds,
            "holds_allow": self._holds_allow,
            "holds_reject": self._holds_reject,
        }

    async def _history(self, arguments: Json) -> Answers:
        node = self._node
        path = _path(arguments) if arguments.get("path") else None
        limit = min(HISTORY_ROWS_MAX, int(number(arguments, "limit", 50)))
        deleted = bool(arguments.get("deleted"))
        kept = await node.in_thread(lambda: kept_by_content(node.trash))
        names = {each: member.name for each, member in node.registry.members().items()}
        shown = await node.books.read(lambda view: rows(view, view.changes(path, limit, deleted=deleted), kept, names))
        yield Result(shown)  # type: ignore[arg-type]  # the contract wants a list here

    async def _restore(self, arguments: Json) -> Answers:
        path = _path(arguments)
        wanted = arguments.get("version")
        name = str(wanted) if wanted else None
        to = arguments.get("to")
        if to:
            version = await self._node.restorer.export(path, name, Path(str(to)))
            back = Regained(version, files=1, bytes=version.size)
        else:
            back = await self._node.undelete.bring_back(path, name)
        yield Result(
            {
                "path": path,
                "version": version_name(back.version) if back.version is not None else None,
                "size": back.bytes,
                "to": to or None,
                "replaced": content_name(back.replaced) if back.replaced is not None else None,
                "files": back.files,
                "folders": back.folders,
                "missing": len(back.missing),
                "missing_examples": [
                    {"path": each, **fault.as_json()}
                    for each, fault in islice(back.missing.items(), RESTORE_ROWS_SHOWN_MAX)
                ],
            }
        )

    async def _diff(self, arguments: Json) -> Answers:
        yield Result(await self._node.judge.diff(_path(arguments)))  # type: ignore[arg-type]  # a list, as above

    async def _resolve(self, arguments: Json) -> Answers:
        yield Result(await self._node.judge.resolve(_path(arguments), text(arguments, "keep")))

    async def _abandon(self, arguments: Json) -> Answers:
        sure = bool(arguments.get("yes"))
        yield Result(await self._giving_up.abandon(_path(arguments), sure=sure))

    async def _holds(self, _: Json) -> Answers:
        yield Result(await self._node.holds.listed())  # type: ignore[arg-type]  # a list, as above

    async def _holds_allow(self, arguments: Json) -> Answers:
        hold = int(number(arguments, "id", 0))
        yield Result({"id": hold, "allowed": await self._node.holds.allow(hold)})

    async def _holds_reject(self, arguments: Json) -> Answers:
        hold = int(number(arguments, "id", 0))
        yield Result({"id": hold, "rejected": await self._node.holds.reject(hold)})

    async def _scrub(self, arguments: Json) -> Answers:
        began = time.monotonic()
        files = size = 0
        rotten: list[Json] = []
        for path in paths_in(arguments) or [ROOT]:
            report = await self._node.scrub.run(path)
            files += report.files
            size += report.bytes
            rotten += [{"path": each.path, "healed": each.healed, "text": each.text} for each in report.rotten]
        seconds = round(time.monotonic() - began, 3)
        yield Result({"files": files, "bytes": size, "seconds": seconds, "rotten": rotten})


def _path(arguments: Json) -> RelPath:
    found = paths_in({"paths": [arguments.get("path")]})
    if len(found) != 1:
        raise Fault("usage", "one path is needed", exit_code=Exit.USAGE)
    return found[0]
