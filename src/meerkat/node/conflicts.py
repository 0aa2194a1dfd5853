"""Which conflict copies stand in the folder, and whose version each holds: read from the index, nothing else."""

import re

from meerkat.model.ids import NodeId
from meerkat.model.path import RelPath, join, name, parent
from meerkat.model.version import Entry
from meerkat.node.hub import now_text
from meerkat.node.ports import View

_TAG = re.compile(r"\.conflict-[0-9a-f]{8}(?=\.[^.]*\Z|\Z)")

Json = dict[str, object]


def original(path: RelPath) -> RelPath | None:
    """The path that a conflict copy belongs to, by its name; None when it is not named like one."""
    last = name(path)
    found = list(_TAG.finditer(last))
    if not found:
        return None
    tag = found[-1]
    return join(parent(path), last[: tag.start()] + last[tag.end() :])


def list_conflicts(view: View, self_id: NodeId) -> list[Json]:
    """`meerkat conflicts --json`: each path with the other versions of it."""
    rows: dict[RelPath, list[Json]] = {}
    for entry in view.copies():
        belongs = original(entry.path)
        if belongs is not None:
            row = _row(entry)
            if row is not None:
                rows.setdefault(belongs, []).append(row)
    for path in view.conflicted():
        rows.setdefault(path, [])
    return [{"path": path, "copies": copies} for path, copies in sorted(rows.items())]


def _row(entry: Entry) -> Json | None:
    living = {dot: version for dot, version in entry.siblings.items() if version.living}
    if not living:
        return None
    dot = max(living)
    version = living[dot]
    return {
        "path": entry.path,
        "node": version.origin or dot.author.node,
        "at": now_text(version.mtime_ns / 1e9),
        "size": version.size,
        "digest": version.digest.hex(),
    }
