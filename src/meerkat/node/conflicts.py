"""Which conflict copies stand in the folder, and whose version each holds: read from the index, nothing else."""

from collections.abc import Callable

from meerkat.core.resolve import copied_from
from meerkat.model.ids import NodeId
from meerkat.model.path import RelPath
from meerkat.model.version import Entry
from meerkat.node.hub import now_text
from meerkat.node.ports import View

Json = dict[str, object]


def list_conflicts(view: View, name_of: Callable[[NodeId], str]) -> list[Json]:
    """`meerkat conflicts --json`: each path with the other versions of it."""
    rows: dict[RelPath, list[Json]] = {}
    for entry in view.copies():
        belongs = copied_from(entry.path)
        if belongs is not None:
            row = _row(entry, name_of)
            if row is not None:
                rows.setdefault(belongs, []).append(row)
    for path in view.conflicted():
        rows.setdefault(path, [])
    return [{"path": path, "copies": copies} for path, copies in sorted(rows.items())]


def _row(entry: Entry, name_of: Callable[[NodeId], str]) -> Json | None:
    living = {dot: version for dot, version in entry.siblings.items() if version.living}
    if not living:
        return None
    dot = max(living)
    version = living[dot]
    node = NodeId(version.copy_of) if version.copy_of else dot.author.node
    return {
        "path": entry.path,
        "node": node,
        "name": name_of(node),
        "at": now_text(version.mtime_ns / 1e9),
        "size": version.size,
        "digest": version.digest.hex(),
    }
