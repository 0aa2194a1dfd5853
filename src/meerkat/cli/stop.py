"""`down` and `leave`: stop for now, or for good."""

import os
import time
from pathlib import Path

import click

from meerkat.cli import ask
from meerkat.cli.folder import find_folder
from meerkat.cli.group import command
from meerkat.cli.options import dir_argument, json_option
from meerkat.cli.show import homely, print_json, say, typed
from meerkat.model.fault import Exit, Fault

STOP_TIMEOUT_S = 30.0
"""A node closes its streams and its index in a second or two; a disk that syncs slowly gets the rest."""
POLL_S = 0.05


@command("down")
@dir_argument
@json_option
def down(folder: str | None, as_json: bool) -> None:
    """Stop the node of a folder; it stays a member."""
    found = find_folder(folder)
    result = ask.call(found, "down", {}, timeout_s=STOP_TIMEOUT_S)  # its end may swallow its answer
    await_stop(found, result.get("pid") if isinstance(result, dict) else None)
    if as_json:
        print_json(result)
    else:
        say(f"Stopped. Start again: meerkat up {typed(str(found))}")


@command("leave")
@dir_argument
@click.option("--yes", is_flag=True, help="Even where the only copy of something would leave the pool.")
@json_option
def leave(folder: str | None, yes: bool, as_json: bool) -> None:
    """Take this node out of the pool; the files stay."""
    found = find_folder(folder)
    result = ask.call(found, "leave", {"yes": yes})
    if as_json:
        print_json(result)
    else:
        say(f"Left the pool. Your files stay in {homely(str(found))}")


def await_stop(folder: Path, pid: int | None) -> None:
    """Wait until the node no longer answers and, where it told its pid, until that process is gone.

    Raises:
        Fault: `still_running` (6) after `STOP_TIMEOUT_S`.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while ask.is_running(folder) or (pid is not None and _alive(pid)):
        if time.monotonic() > deadline:
            raise Fault(
                "still_running",
                f"the node of {homely(str(folder))} was told to stop but still runs after {STOP_TIMEOUT_S:.0f} s",
                hint=f"meerkat logs {typed(str(folder))}",
                exit_code=Exit.UNREACHABLE,
            )
        time.sleep(POLL_S)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not reaped by its parent does not count."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError, IndexError):
        return False
    except PermissionError:
        return True
    return state != "Z"
