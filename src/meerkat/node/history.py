"""What happened to paths, as this node came to know of it, and where a past version can be had back from."""

from collections.abc import Iterable

from meerkat.core.merge import mark
from meerkat.disk.trash import Kept, Trash
from meerkat.model.ids import Digest, NodeId
from meerkat.model.index import Noted
from meerkat.model.path import RelPath
from meerkat.model.version import Content, Kind, Version
from meerkat.node.hub import now_text
from meerkat.node.ports import View

Json = dict[str, object]

VERSION_CHARS = 12


def version_name(version: Version) -> str:
    """What people call a version by: the beginning of its content's digest."""
    return content_name(version.content)


def content_name(content: Content) -> str:
    """As `version_name`, of what a path shows."""
    name = content.ident if content.kind is Kind.FILE else mark(content)
    return name.hex()[:VERSION_CHARS]


def operation(noted: Noted) -> str:
    """One word for what the write did."""
    version = noted.version
    if version.gave_up:
        return "abandoned"
    if version.kind is Kind.TOMBSTONE:
        return "deleted"
    if version.copy_of:
        return "conflict_copy"
    if version.weak:
        return "adopted"
    return "created" if version.height == 1 else "edited"


def kept_by_content(trash: Trash) -> dict[Content, Kept]:
    """The newest thing in the trash for each content."""
    found: dict[Content, Kept] = {}
    for kept in trash.entries():
        found[kept.content] = kept
    return found


def rows(view: View, noted: Iterable[Noted], kept: dict[Content, Kept], names: dict[NodeId, str]) -> list[Json]:
    """`meerkat history --json`: one object a write.

    Args:
        kept: what the trash holds.
        names: of the members, by node.
    """
    shown = []
    for each in noted:
        version = each.version
        node = NodeId(version.copy_of) if version.copy_of else each.dot.author.node
        row: Json = {
            "at": now_text(each.at_ms / 1000),
            "node": node,
            "name": names.get(node, node[:8]),
            "op": operation(each),
            "path": each.path,
            "kind": version.kind.name.lower(),
            "version": version_name(version) if version.living else None,
            "size": version.size,
        }
        if version.gave_up:
            writer = NodeId(version.gave_up)
            row["abandoned"] = {"node": writer, "name": names.get(writer, writer[:8])}
        if version.living:
            row["restorable_from"] = sources(view, version, kept)
        shown.append(row)
    return shown


def sources(view: View, version: Version, kept: dict[Content, Kept]) -> list[str]:
    """Where a version's bytes are on this machine: in the folder, in the trash. Other members may have them too."""
    found = []
    if version.kind is not Kind.FILE or view.locate_content(version.content):
        found.append("folder")
    if version.content in kept:
        found.append("trash")
    return found


def choose(noted: list[Noted], now: Version | None, wanted: str | None) -> Version | None:
    """The version that a person means.

    Args:
        noted: the path's writes, newest first.
        now: what the path shows; None: nothing.
        wanted: the beginning of a version's name; None: the one before what is there now.
    """
    for each in noted:
        version = each.version
        if not version.living:
            continue
        if wanted is not None:
            if version_name(version).startswith(wanted.lower()):
                return version
        elif now is None or version.content != now.content:
            return version
    return None


def from_trash(path: RelPath, kept: Iterable[Kept], now: Version | None, wanted: str | None) -> Version | None:
    """As `choose`, from what lies in the trash: for what was replaced before history was kept, or is past its end."""
    best: Kept | None = None
    for each in kept:
        if each.path != path or (now is not None and each.content == now.content):
            continue
        name = each.content.ident if each.content.kind is Kind.FILE else mark(each.content)
        if wanted is not None and not name.hex().startswith(wanted.lower()):
            continue
        if best is None or each.trashed_at > best.trashed_at:
            best = each
    if best is None:
        return None
    return kept_version(best)


def kept_version(kept: Kept) -> Version:
    """A thing in the trash as the version that it was, as far as it can tell."""
    kind, ident = kept.content
    if kind is Kind.SYMLINK:
        return Version(kind, mtime_ns=kept.mtime_ns, target=ident.decode("utf-8", "surrogateescape"))
    return Version(kind, size=kept.size, mtime_ns=kept.mtime_ns, mode=kept.mode, digest=Digest(ident))
