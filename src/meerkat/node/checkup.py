"""How this node itself stands: what a person would look at first when something does not work.

Each check is a look at the real thing (the disk, the kernel's limits, the port from outside), concluded here and
nowhere else. Nothing is changed by looking.
"""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from meerkat import __version__
from meerkat.core.diagnose import Diagnosis, Finding
from meerkat.disk.trouble import size_text
from meerkat.model.limits import (
    DOCTOR_CLOCK_OFF_S,
    DOCTOR_FREE_BYTES_LEAST,
    DOCTOR_FREE_BYTES_MIN,
    DOCTOR_WATCHES_SHARE_MAX,
)
from meerkat.model.path import MARKER
from meerkat.wire.address import parse_address
from meerkat.wire.interfaces import is_loopback

if TYPE_CHECKING:
    from meerkat.node.node import Node

WATCH_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
OK, WARN, FAIL = Finding.OK, Finding.WARN, Finding.FAIL


class Check(Struct, frozen=True):
    """One look: a stable word for programs, and what came of it."""

    check: str
    found: Diagnosis


async def look_at(node: "Node") -> list[Check]:
    """Everything that can be known without other members."""
    local = await node.in_thread(lambda: list(_local(node)))
    return [*local, _index(node), _watch(node), await _port(node), _addresses(node)]


def _local(node: "Node") -> Iterator[Check]:
    """What lies on the disk (in a worker thread)."""
    yield Check("node", Diagnosis(OK, f"meerkat {__version__}, process {os.getpid()}, listens on {node.listen}"))
    yield Check("folder", folder_found(node.root.check_marker()))
    yield Check("disk", space_found(shutil.disk_usage(node.home.folder).free))
    yield Check("stage", _stage(node))
    yield Check("key", key_found(node.home.identity))


def folder_found(there: bool) -> Diagnosis:
    """Is the folder still the one that was opened, with its `.meerkat`?"""
    if there:
        return Diagnosis(OK, f"the folder is there, with its {MARKER}")
    return Diagnosis(
        FAIL,
        f"the folder has lost its {MARKER}, or is not where it was: nothing is told to the pool",
        "mount its disk or move it back, then start again",
    )


def space_found(free: int) -> Diagnosis:
    """Is there room to work in?"""
    text = size_text(free)
    if free >= DOCTOR_FREE_BYTES_MIN:
        return Diagnosis(OK, f"{text} free")
    state = WARN if free >= DOCTOR_FREE_BYTES_LEAST else FAIL
    return Diagnosis(
        state, f"only {text} free on the folder's disk", "free some space; what waits for it goes on by itself"
    )


def _stage(node: "Node") -> Diagnosis:
    names = node.stage.names()
    writable = os.access(node.home.path / "stage", os.W_OK | os.X_OK)
    if not writable:
        return Diagnosis(
            FAIL, f"{MARKER}/stage cannot be written: nothing can arrive", f"check the owner of {MARKER} and its bits"
        )
    return Diagnosis(OK, f"{len(names)} downloads under way or kept" if names else "no download is under way")


def key_found(folder: Path) -> Diagnosis:
    """Is the private key private?"""
    try:
        open_to = [place.name for place in folder.iterdir() if stat.S_IMODE(place.stat().st_mode) & 0o077]
    except OSError as error:
        return Diagnosis(FAIL, f"the node's key cannot be read: {error.strerror}", f"check the bits of {folder}")
    if open_to:
        return Diagnosis(
            FAIL, f"others on this machine may read the node's key ({', '.join(open_to)})", f"chmod -R go= '{folder}'"
        )
    return Diagnosis(OK, "the node's key is readable by its user alone")


def _index(node: "Node") -> Check:
    books = node.books
    trouble = node.hub.problem(f"{MARKER}/index.db")
    if trouble is not None:
        return Check("index", Diagnosis(FAIL, trouble.text, trouble.hint))
    if books.recovering:
        text = "the index is being learnt anew; no edits are told before a member's whole index has come"
        return Check("index", Diagnosis(WARN, text, "link this node with a member that is up"))
    waiting = f", {books.behind:,} paths still to be put down" if books.behind else ""
    return Check("index", Diagnosis(OK, f"{books.files:,} files known{waiting}"))


def _watch(node: "Node") -> Check:
    try:
        limit = int(WATCH_LIMIT.read_text())
    except (OSError, ValueError):
        limit = 0
    return Check("watch", watch_found(node.watch.degraded, node.books.totals.folders + 1, limit))


def watch_found(degraded: str, folders: int, limit: int) -> Diagnosis:
    """Are changes heard of as they happen? `limit`: of watched folders for all of this user's programs; 0: unknown."""
    fix = f"sudo sysctl fs.inotify.max_user_watches={max(524_288, 2 * folders)}"
    if degraded:
        return Diagnosis(
            WARN, f"{degraded}; changes are found by scanning, so they go out late", fix if "limit" in degraded else ""
        )
    if limit and folders > limit * DOCTOR_WATCHES_SHARE_MAX:
        return Diagnosis(WARN, f"folders watched: {folders:,}, of at most {limit:,}", fix)
    return Diagnosis(OK, f"folders watched: {folders:,}" + (f", of at most {limit:,}" if limit else ""))


async def _port(node: "Node") -> Check:
    """Does the port answer? Asked as another member would ask, on this machine."""
    member = node.registry.members().get(node.identity.node)
    if member is None:
        return Check("port", Diagnosis(FAIL, "this node is not on its own roster", "meerkat logs"))
    way = await node.peers.probing.look(own_address(node.listen), member)
    if way.code == "reached":
        return Check("port", Diagnosis(OK, f"{node.listen} answers, in {way.ms} ms on this machine"))
    return Check(
        "port",
        Diagnosis(FAIL, f"{way.address} does not answer even on this machine: {way.text}", "restart the node"),
    )


def own_address(listen: str) -> str:
    """Where this machine itself reaches what listens there."""
    address = parse_address(listen)
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    return str(address._replace(host=loopback))


def _addresses(node: "Node") -> Check:
    return Check("addresses", addresses_found(node.addresses()))


def addresses_found(told: list[str]) -> Diagnosis:
    """Can other machines make anything of what this node tells of itself?"""
    if not told:
        return Diagnosis(WARN, "no address is told: only this node can dial", "meerkat up --listen HOST:PORT")
    text = f"members are told {', '.join(told)}"
    if all(is_loopback(each) for each in told):
        return Diagnosis(
            WARN,
            f"{text}: nobody on another machine can dial that",
            "meerkat up --listen 0.0.0.0:PORT, or --advertise HOST:PORT",
        )
    return Diagnosis(OK, text)


# ---- what other members say


def clock_found(offsets_s: dict[str, float]) -> Diagnosis:
    """Is this machine's clock right, as far as members' clocks tell? By how much they are ahead, by name."""
    if not offsets_s:
        return Diagnosis(OK, "no member to compare the clock with; nothing that is synced depends on it")
    name, worst = max(offsets_s.items(), key=lambda each: abs(each[1]))
    if abs(worst) <= DOCTOR_CLOCK_OFF_S:
        whose = name if len(offsets_s) == 1 else f"{len(offsets_s)} members"
        return Diagnosis(OK, f"the clock is within {max(0.1, abs(worst)):.1f} s of that of {whose}")
    ahead = "ahead of" if worst > 0 else "behind"
    return Diagnosis(
        WARN,
        f"the clock of {name} is {abs(worst):.0f} s {ahead} this one: times look wrong, and invites may end early",
        "set the clock of whichever is wrong",
    )


def inbound_found(can: list[str], cannot: list[str], port: str) -> Diagnosis:
    """Can others dial this node? Names of members that can, and that cannot."""
    if can:
        return Diagnosis(OK, f"{', '.join(can)} can dial this node")
    if cannot:
        who = f"none of {', '.join(cannot)} can" if len(cannot) > 1 else f"{cannot[0]} cannot"
        return Diagnosis(
            WARN,
            f"{who} dial this node: it is in sync as long as it can dial somebody",
            f"open TCP port {port} in the firewall or router in front of it, or --advertise an address that leads here",
        )
    return Diagnosis(OK, "no member has said whether this node can be dialled")


def wall_ms() -> int:
    return int(time.time() * 1000)  # noqa: TID251  # compared with members' clocks, for people
