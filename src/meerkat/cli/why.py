"""`why`: for a path that is not everywhere, the node, the cause and the next step."""

from datetime import datetime
from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import ago, count, neutral, now, print_json, say, size

STATES = {
    "has_it": "has it",
    "behind": "not yet",
    "blocked": "blocked",
    "offline": "offline",
    "unknown": "unknown",
    "ignored": "ignored",
    "held": "held",
}


@command("why")
@click.argument("where", metavar="[DIR] [PATH]...", nargs=-1)
@json_option
def why(where: tuple[str, ...], as_json: bool) -> None:
    """Tell why a path is not on every node, and what to do.

    Without PATH: every path that is not on every node.
    """
    folder, paths = split_folder(where)
    for path in paths or (None,):
        shown = ask.call(folder, "why", {"paths": [path] if path else []})
        if as_json:
            print_json(shown)
            continue
        for line in path_lines(shown, now()) if path else everything_lines(shown, now()):
            say(line)


def path_lines(shown: dict[str, Any], at: datetime) -> list[str]:
    """One path, a line for each node, with cause and next step below those that have it not."""
    what = str(shown["kind"] or "not in the pool")
    if shown["kind"] == "file":
        what += f" of {size(int(shown['size']))}"
    by = shown["written_by"]
    who = f", written by {neutral(str(by['name']))}" if by else ""
    when = f", heard of {ago(shown['heard_at'], at)}" if shown["heard_at"] else ""
    lines = [f"{neutral(str(shown['path']))}: {what}{who}{when}"]
    if shown["everywhere"]:
        lines.append("It is gone on every node." if shown["kind"] == "deleted" else "It is on every node.")
    gone = shown["kind"] == "deleted"
    for row in shown["members"]:
        lines.extend(_node_lines(row, at, "  ", gone=gone))
    if shown["conflict_copies"]:
        lines.append("Other versions of it: " + ", ".join(neutral(str(each)) for each in shown["conflict_copies"]))
    if shown["unsettled"]:
        lines.append(f"{count(int(shown['unsettled']), 'other version')} not yet at a name of its own")
    return lines


def everything_lines(shown: dict[str, Any], at: datetime) -> list[str]:
    """What is not everywhere, a path with its nodes, then how many more."""
    lines: list[str] = []
    last = None
    for row in sorted(shown["paths"], key=lambda row: (row["state"] != "blocked", str(row["path"]))):
        if row["path"] != last:
            lines.append(neutral(str(row["path"])))
            last = row["path"]
        lines.extend(_node_lines(row, at, "  "))
    if shown["more"]:
        least = "at least " if shown["at_least"] else ""
        lines.append(f"and {least}{int(shown['more']):,} more")
    for node in shown["unknown"]:
        cause = f" ({neutral(str(node['cause']))})" if node["cause"] else ""
        lines.append(f"{neutral(str(node['name']))} has not said how far it is: {node['state']}{cause}")
    return lines or ["Everything is everywhere"]


def _node_lines(row: dict[str, Any], at: datetime, indent: str, *, gone: bool = False) -> list[str]:
    state = (
        "gone there" if gone and row["state"] == "has_it" else STATES.get(str(row["state"]), neutral(str(row["state"])))
    )
    here = " (this node)" if row["self"] else ""
    since = f" since {ago(row['since'], at)}" if row["since"] else ""
    reason = f" ({neutral(str(row['reason']))})" if row["reason"] else ""
    cause = f": {neutral(str(row['cause']))}" if row["cause"] else ""
    lines = [f"{indent}{neutral(str(row['name']))}{here}: {state}{since}{reason}{cause}"]
    if row["next"]:
        lines.append(f"{indent}  next: {neutral(str(row['next']))}")
    return lines
