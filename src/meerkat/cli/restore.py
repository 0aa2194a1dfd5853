"""`restore`: a past version of a path back in its place, or in a file elsewhere."""

from pathlib import Path

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import neutral, print_json, say, size
from meerkat.model.fault import Exit, Fault


@command("restore")
@click.argument("where", metavar="[DIR] PATH", nargs=-1)
@click.option("--version", "wanted", metavar="V", help="Which version, as history names it; else the one before.")
@click.option("--to", "target", metavar="FILE", help="Write it to this new file instead.")
@json_option
def restore(where: tuple[str, ...], wanted: str | None, target: str | None, as_json: bool) -> None:
    """Bring back a past version of a file; deletions, too."""
    folder, paths = split_folder(where)
    if len(paths) != 1:
        raise Fault("usage", "name one path to restore", hint="meerkat history --deleted", exit_code=Exit.USAGE)
    to = str((Path.cwd() / Path(target).expanduser()).absolute()) if target else None
    result = ask.call(folder, "restore", {"path": paths[0], "version": wanted, "to": to})
    if as_json:
        print_json(result)
        return
    where_to = neutral(str(result["to"] or result["path"]))
    say(f"Restored version {result['version']} ({size(int(result['size']))}) to {where_to}")
    if result.get("replaced"):
        undo = f"meerkat restore {neutral(str(result['path']))} --version {result['replaced']}"
        say(f"What stood there is in the trash; undo: {undo}")
