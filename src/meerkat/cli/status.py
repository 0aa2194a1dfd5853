"""`status`: is everything everywhere? If not: where not, why, and what helps."""

import sys
from datetime import datetime
from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import find_folder
from meerkat.cli.group import command
from meerkat.cli.nodes import node_rows
from meerkat.cli.options import dir_argument, json_option
from meerkat.cli.show import count, homely, neutral, now, paint, print_json, say, size, table
from meerkat.model.fault import Exit

POOL_COLOURS = {
    "in_sync": "green",
    "syncing": "cyan",
    "attention": "yellow",
    "alone": "yellow",
    "paused": "yellow",
    "stopped": "red",
}
PROBLEMS_PRINTED_MAX = 10


@command("status")
@dir_argument
@click.option("--check", is_flag=True, help="Exit with 7 unless everything is in sync.")
@json_option
def status(folder: str | None, check: bool, as_json: bool) -> int:
    """Show how pool, nodes and this node stand."""
    shown = ask.call(find_folder(folder), "status", {})
    if as_json:
        print_json(shown)
    else:
        for line in status_lines(shown, now()):
            say(line)
    return Exit.NEEDS_PERSON if check and shown["state"] != "in_sync" else Exit.DONE


def status_lines(shown: dict[str, Any], at: datetime) -> list[str]:
    """The status for a person. The first line answers, the last ones say what to do."""
    state = str(shown["state"])
    word = paint(state.replace("_", " "), POOL_COLOURS.get(state, ""), sys.stdout)
    nodes = shown.get("nodes", [])
    good = sum(node["state"] == "up_to_date" for node in nodes)
    behind = shown.get("behind", {})
    missing = int(behind.get("files", 0))
    have = f"{count(missing, 'file')}, {size(int(behind['bytes']))} to come" if missing else "all of it is here"
    total = f"{count(int(shown['files']), 'file')}, {size(int(shown['bytes']))}"
    lines = [
        f"{homely(str(shown['dir']))}  {word}",
        f"  {total}; {have}; {good} of {count(len(nodes), 'node')} up to date",
        "",
        *table(node_rows(nodes, at)),
    ]
    return lines + _needs(shown)


def _needs(shown: dict[str, Any]) -> list[str]:
    lines = []
    conflicts, held = int(shown.get("conflicts", 0)), int(shown.get("held", 0))
    if conflicts:
        lines.append(f"  {count(conflicts, 'conflict')}: both versions are kept. See: meerkat conflicts")
    if held:
        lines.append(f"  {count(held, 'deletion')} held back until a person agrees")
    if refusing := shown.get("refused_by", []):
        lines.append(
            "  "
            + neutral(
                f"{', '.join(refusing)} had this node for a member and refused it now: it was taken off the pool."
            )
        )
        lines.append("  To come back: move .meerkat away and join with a new invite. The files stay")
    problems = shown.get("problems", [])
    names = {node["node"]: node["name"] for node in shown.get("nodes", [])}
    for problem in problems[:PROBLEMS_PRINTED_MAX]:
        where = str(names.get(problem.get("node"), problem.get("node") or "here"))
        hint = f" ({problem['hint']})" if problem.get("hint") else ""
        lines.append(
            "  " + neutral(f"{problem['path']} waits on {where}: {problem['text'] or problem['reason']}{hint}")
        )
    if len(problems) > PROBLEMS_PRINTED_MAX:
        lines.append(f"  and {len(problems) - PROBLEMS_PRINTED_MAX:,} more: meerkat status --json")
    if len(shown.get("nodes", [])) == 1:
        lines.append("  Only this node so far. Add a machine: meerkat invite")
    return ["", "Needs you:", *lines] if lines else []
