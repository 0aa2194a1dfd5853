"""`abandon`: give up a version whose bytes no node has any more."""

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import neutral, print_json, say, size
from meerkat.model.fault import Exit, Fault


@command("abandon")
@click.argument("where", metavar="[DIR] PATH", nargs=-1)
@click.option("--yes", is_flag=True, help="Even where nodes that cannot be asked now may have the bytes.")
@json_option
def abandon(where: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Give up a version whose bytes no node has any more.

    Refused while this node or any node that is online has them. What stands at the path on this node stays there.
    Should the bytes come back after all, they go to the trash of the node that brings them.
    """
    folder, paths = split_folder(where)
    if len(paths) != 1:
        raise Fault("usage", "name one path to give up", hint="meerkat why", exit_code=Exit.USAGE)
    result = ask.call(folder, "abandon", {"path": paths[0], "yes": yes})
    if as_json:
        print_json(result)
        return
    path, whose = neutral(str(result["path"])), neutral(str(result["written_by"]["name"]))
    say(f"Gave up {whose}'s version {result['version']} ({size(int(result['size']))}) of {path}")
    if result["left"]:
        say(f"{path} stays as it is here, version {result['left']}")
    if result["parts"]:
        say("Parts of it are still with some node, but not all of it")
    if result["may_have"]:
        names = " or ".join(neutral(str(row["name"])) for row in result["may_have"])
        say(f"If {names} has it after all, it goes to the trash there: meerkat restore")
