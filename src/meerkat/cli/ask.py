"""Asking the node that runs for a folder, over its control socket.

The verbs and their arguments (a JSON object; results are the objects that `--json` prints):

    status {}   nodes {}   doctor {"node": str | null}   conflicts {}   down {}   leave {"yes": bool}
    nodes_rename {"name": str}   nodes_remove {"node": str}
    invite {"uses": int, "for": seconds}   invite_list {}   invite_revoke {"id": str}
    wait {"nodes": "reachable" | "all" | NAME, "timeout": seconds, "paths": [str]}
    scan {"paths": [str]}   events {"since": int | null} (a stream)

The answers of nodes, conflicts and invite_list are lists.

Invariant: whatever the node or its absence answers reaches the caller as a result or as a `Fault`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meerkat.cli.show import homely, typed
from meerkat.model.fault import Exit, Fault

if TYPE_CHECKING:
    from meerkat.wire.control import ControlClient

Json = Any
"""A parsed JSON value. The shapes are the contract's; the command line shows them and does not check them again."""

ALIVE_TIMEOUT_S = 5.0


def call(
    folder: Path,
    verb: str,
    arguments: dict[str, Json],
    progress: Callable[[Json], None] | None = None,
    timeout_s: float | None = None,
) -> Json:
    """The node's answer to one verb.

    Raises:
        Fault: `not_running` (3), or what the node answered.
    """
    with _connected(folder) as client:
        return client.call(verb, arguments, progress, timeout_s)


def stream(folder: Path, verb: str, arguments: dict[str, Json]) -> Iterator[Json]:
    """The node's answers to a verb that goes on; raises like `call`, also when the node stops meanwhile."""
    with _connected(folder) as client:
        yield from client.stream(verb, arguments)


def is_running(folder: Path) -> bool:
    """Whether a node answers for this folder, be it with a refusal."""
    try:
        call(folder, "status", {}, timeout_s=ALIVE_TIMEOUT_S)
    except Fault as fault:
        return fault.code != "not_running"
    return True


@contextmanager
def _connected(folder: Path) -> "Iterator[ControlClient]":
    from meerkat.wire.control import ControlClient, ControlFault, NotRunning, UnsafeSocket, find_socket

    try:
        with ControlClient(find_socket(folder)) as client:
            yield client
    except NotRunning:
        raise Fault(
            "not_running",
            f"no node is running for {homely(str(folder))}",
            hint=f"meerkat up {typed(str(folder))}",
            exit_code=Exit.NOT_RUNNING,
        ) from None
    except UnsafeSocket as error:
        raise Fault(
            "unsafe_socket",
            f"not talking to the node of {homely(str(folder))}: others could stand in for it",
            cause=str(error),
            exit_code=Exit.REFUSED,
        ) from None
    except ControlFault as fault:
        raise Fault(fault.code, fault.message, cause=fault.cause, hint=fault.hint, exit_code=fault.exit_code) from None
