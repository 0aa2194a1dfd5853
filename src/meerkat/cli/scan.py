"""`scan`: look at the files now."""

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import count, print_json, say, span


@command("scan")
@click.argument("where", metavar="[DIR] [PATH]...", nargs=-1)
@json_option
def scan(where: tuple[str, ...], as_json: bool) -> None:
    """Look at the files now instead of waiting for the watcher."""
    folder, paths = split_folder(where)
    result = ask.call(folder, "scan", {"paths": list(paths)})
    if as_json:
        print_json(result)
        return
    looked = count(int(result["scanned"]), "path")
    took = f" in {span(float(result['seconds']))}" if "seconds" in result else ""
    changes = count(int(result["changes"]), "change") if result.get("changes") else "nothing changed"
    say(f"Looked at {looked}{took}: {changes}")
