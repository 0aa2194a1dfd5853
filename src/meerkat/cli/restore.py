"""`restore`: a past version of a path back in its place, or in a file elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import count, neutral, print_json, say, size, typed
from meerkat.model.fault import Exit, Fault


@command("restore")
@click.argument("where", metavar="[DIR] PATH", nargs=-1)
@click.option("--version", "wanted", metavar="V", help="Which version, as history names it; else the one before.")
@click.option("--to", "target", metavar="FILE", help="Write it to this new file instead.")
@json_option
def restore(where: tuple[str, ...], wanted: str | None, target: str | None, as_json: bool) -> int:
    """Bring back a past version of a file, or what was deleted.

    Nothing is overwritten for good: what stood there goes to the trash. A deleted folder comes
    back with all that went with it; in one that is there, what was deleted last. What stands there now stays.
    """
    folder, paths = split_folder(where)
    if len(paths) != 1:
        raise Fault("usage", "name one path to restore", hint="meerkat history --deleted", exit_code=Exit.USAGE)
    to = str((Path.cwd() / Path(target).expanduser()).absolute()) if target else None
    result = ask.call(folder, "restore", {"path": paths[0], "version": wanted, "to": to})
    missing = int(result.get("missing") or 0)
    if as_json:
        print_json(result)
    else:
        for line in restore_lines(result, missing):
            say(line)
    return Exit.UNREACHABLE if missing else Exit.DONE


def restore_lines(result: dict[str, Any], missing: int) -> Iterator[str]:
    path = neutral(str(result["path"]))
    bytes_text = size(int(result["size"]))
    in_folders = int(result.get("folders") or 0)
    if result.get("version") and not in_folders:
        yield f"Restored version {result['version']} ({bytes_text}) to {neutral(str(result['to'] or result['path']))}"
    else:
        came = count(int(result["files"]), "file") + (f" in {count(in_folders, 'folder')}" if in_folders else "")
        yield f"Restored {came} ({bytes_text}) in {path}; to take it back, delete what came back"
    if result.get("replaced"):
        undo = f"meerkat restore {typed(path)} --version {result['replaced']}"
        first = f"rm -r {typed(path)}, then " if in_folders else ""
        yield f"What stood there is in the trash; undo: {first}{undo}"
    for each in result.get("missing_examples") or ():
        why = f" ({neutral(str(each['cause']))})" if each.get("cause") else ""
        yield f"Not restored: {neutral(str(each['message']))}{why}"
    shown = len(result.get("missing_examples") or ())
    if missing > shown:
        yield f"… and {missing - shown} more"
    if missing:
        yield "Start the nodes that may have them, then again: meerkat restore " + typed(path)
