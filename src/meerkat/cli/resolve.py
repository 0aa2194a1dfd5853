"""`resolve`: which version of a path in conflict is to stay."""

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import neutral, print_json, say, typed
from meerkat.model.fault import Exit, Fault


@command("resolve")
@click.argument("where", metavar="[DIR] PATH", nargs=-1)
@click.option("--keep", required=True, metavar="NODE|newest|both|VERSION", help="Whose version stays, or which.")
@json_option
def resolve(where: tuple[str, ...], keep: str, as_json: bool) -> None:
    """Settle a conflict; what does not stay goes to the trash."""
    folder, paths = split_folder(where)
    if len(paths) != 1:
        raise Fault("usage", "name one path", hint="meerkat conflicts", exit_code=Exit.USAGE)
    result = ask.call(folder, "resolve", {"path": paths[0], "keep": keep})
    if as_json:
        print_json(result)
        return
    path = neutral(str(result["path"]))
    trashed = result.get("trashed") or []
    if result["kept"] == "both":
        others = ", ".join(neutral(str(each)) for each in result["stored"] if each != "trash")
        say(f"Both stay: {path} as it is, the other as {others}")
    else:
        say(f"{path} is {neutral(str(result['name']))}'s version now")
        for each in trashed:
            undo = f"meerkat restore {typed(neutral(str(each['path'])))} --version {each['version']}"
            say(f"In the trash: {neutral(str(each['path']))}; undo: {undo}")
    for each in result.get("left") or ():
        say(f"Edited meanwhile, so it stays: {neutral(str(each))}")
