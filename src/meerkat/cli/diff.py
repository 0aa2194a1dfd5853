"""`diff`: in what the versions of a path in conflict differ."""

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import neutral, print_json, say, size
from meerkat.model.fault import Exit, Fault


@command("diff")
@click.argument("where", metavar="[DIR] PATH", nargs=-1)
@json_option
def diff(where: tuple[str, ...], as_json: bool) -> None:
    """Show in what the versions of a file in conflict differ."""
    folder, paths = split_folder(where)
    if len(paths) != 1:
        raise Fault("usage", "name one path", hint="meerkat conflicts", exit_code=Exit.USAGE)
    shown = ask.call(folder, "diff", {"path": paths[0]})
    if as_json:
        print_json(shown)
        return
    for one in shown:
        if one["text"] is None:
            whose = f"{neutral(str(one['name']))}'s version is {neutral(str(one['path']))}"
            why = neutral(str(one.get("why") or "the two cannot be compared line by line"))
            say(f"{whose}, {size(int(one['size']))}; {why}")
        for line in str(one["text"] or "").splitlines():
            say(neutral(line))
