"""`holds`: mass deletions that nobody was told of yet, and the word that ends the waiting."""

from datetime import datetime
from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import find_folder
from meerkat.cli.group import DefaultGroup, command
from meerkat.cli.options import dir_argument, json_option
from meerkat.cli.show import ago, count, neutral, now, print_json, say

folder_option = click.option("--folder", metavar="DIR", help="The node's folder, when not the current one.")
EXAMPLES_SHOWN = 3


@command("list")
@dir_argument
@json_option
def list_holds(folder: str | None, as_json: bool) -> None:
    """List mass deletions that wait for a yes; allow or reject one."""
    shown = ask.call(find_folder(folder), "holds", {})
    if as_json:
        print_json(shown)
        return
    for line in hold_lines(shown, now()):
        say(line)


def hold_lines(shown: list[dict[str, Any]], at: datetime) -> list[str]:
    if not shown:
        return ["Nothing is held"]
    lines = []
    for one in shown:
        where = neutral(str(one["folder"])) or "the shared folder"
        lines.append(
            f"Hold {one['id']}, {ago(one['at'], at)}: {count(int(one['paths']), 'path')} in {where} are gone from this "
            f"disk, of {count(int(one['total']), 'file')}. No other node was told."
        )
        examples = [neutral(str(path)) for path in one["examples"][:EXAMPLES_SHOWN]]
        more = int(one["paths"]) - len(examples)
        lines.extend(f"  {path}" for path in examples)
        if more > 0:
            lines.append(f"  and {more} more")
        lines.append(f"Meant: meerkat holds allow {one['id']}    Bring them back: meerkat holds reject {one['id']}")
    return lines


holds = DefaultGroup("holds", default=list_holds, help=list_holds.help)


@command("allow")
@click.argument("hold", metavar="ID", type=int)
@folder_option
@json_option
def allow(hold: int, folder: str | None, as_json: bool) -> None:
    """It was meant: delete them on every node (into the trash there)."""
    result = ask.call(find_folder(folder), "holds_allow", {"id": hold})
    if as_json:
        print_json(result)
    else:
        say(f"{count(int(result['allowed']), 'path')} may go; the other nodes keep them in their trash for a while")


@command("reject")
@click.argument("hold", metavar="ID", type=int)
@folder_option
@json_option
def reject(hold: int, folder: str | None, as_json: bool) -> None:
    """It was not meant: bring them back here from the other nodes."""
    result = ask.call(find_folder(folder), "holds_reject", {"id": hold})
    if as_json:
        print_json(result)
    else:
        say(f"{count(int(result['rejected']), 'path')} come back, as soon as a node that has them is linked")


holds.add_command(allow)
holds.add_command(reject)
