"""`nodes`: the roster, with what each node lacks and when it was last heard."""

from datetime import datetime
from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import find_folder
from meerkat.cli.group import DefaultGroup, command
from meerkat.cli.options import dir_argument, json_option
from meerkat.cli.show import Cell, ago, count, neutral, now, print_json, say, table

STATE_COLOURS = {
    "up_to_date": "green",
    "syncing": "cyan",
    "blocked": "red",
    "offline": "bright_black",
    "paused": "yellow",
    "unknown": "bright_black",
}
folder_option = click.option("--folder", metavar="DIR", help="The node's folder, when not the current one.")


def node_rows(nodes: list[dict[str, Any]], at: datetime) -> list[list[Cell | str]]:
    """The roster as rows of a table, this node first, with a head."""
    rows: list[list[Cell | str]] = [["NODE", "STATE", "BEHIND", "LAST SEEN", "ADDRESS", "RTT"]]
    for node in sorted(nodes, key=lambda node: (not node.get("self"), str(node["name"]))):
        state = str(node["state"])
        lacking = node.get("behind_files")
        delay = node.get("rtt_ms")
        rows.append(
            [
                neutral(str(node["name"])) + (" *" if node.get("self") else ""),
                Cell(state.replace("_", " "), STATE_COLOURS.get(state, "")),
                count(int(lacking), "file") if lacking else "–",
                "now" if node.get("self") else ago(node.get("last_seen"), at),
                neutral(str(node.get("address") or "–")),
                "–" if delay is None else f"{float(delay):.0f} ms",
            ]
        )
    return rows


@command("list")
@dir_argument
@json_option
def list_nodes(folder: str | None, as_json: bool) -> None:
    """List the pool's nodes; rename this one, remove another."""
    shown = ask.call(find_folder(folder), "nodes", {})
    if as_json:
        print_json(shown)
        return
    for line in table(node_rows(shown, now()), indent=""):
        say(line)
    if len(shown) == 1:
        say("Only this node so far. Add a machine: meerkat invite")


nodes = DefaultGroup("nodes", default=list_nodes, help=list_nodes.help)


@command("rename")
@click.argument("name")
@folder_option
@json_option
def rename(name: str, folder: str | None, as_json: bool) -> None:
    """Give this node another name."""
    result = ask.call(find_folder(folder), "nodes_rename", {"name": name})
    if as_json:
        print_json(result)
    else:
        say(f"This node is now called {neutral(name)}")


@command("remove")
@click.argument("node")
@folder_option
@json_option
def remove(node: str, folder: str | None, as_json: bool) -> None:
    """Take a node off the roster: every member refuses it from then on."""
    result = ask.call(find_folder(folder), "nodes_remove", {"node": node})
    if as_json:
        print_json(result)
    else:
        say(f"{neutral(node)} is no longer a member. The files that it has stay with it")


nodes.add_command(rename)
nodes.add_command(remove)
