"""`doctor`: what is wrong with this node, and which way to which member fails, and why."""

import sys
from pathlib import Path
from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import find_folder, is_node
from meerkat.cli.group import command
from meerkat.cli.nodes import folder_option
from meerkat.cli.options import json_option
from meerkat.cli.show import count, neutral, paint, print_json, say, width
from meerkat.model.fault import Exit

MARKS = {"ok": ("✓", "+"), "off": ("–", "-"), "warn": ("!", "!"), "fail": ("✗", "x")}
COLOURS = {"ok": "green", "off": "bright_black", "warn": "yellow", "fail": "red"}


@command("doctor")
@click.argument("words", metavar="[DIR] [NODE]", nargs=-1)
@folder_option
@json_option
def doctor(words: tuple[str, ...], folder: str | None, as_json: bool) -> int:
    """Tell what is wrong here, and which way to whom fails, and why.

    This node is looked at, every known address of each member (or of NODE alone) is tried, and members are asked
    whether they can dial this node. Exits with 7 when something needs a person; with 6 when NODE was named and there is
    no link with it, directly or through another.
    """
    if words and folder is None and is_node(Path.cwd() / Path(words[0]).expanduser()):
        folder, words = words[0], words[1:]
    if len(words) > 1:
        raise click.UsageError(f"got {len(words)} names where one node is expected")
    node = words[0] if words else None
    shown = ask.call(find_folder(folder), "doctor", {"node": node})
    if as_json:
        print_json(shown)
    else:
        for line in doctor_lines(shown):
            say(line)
    members = shown["members"]
    if node is not None and any(not row["link"] and not row["through"] for row in members):
        return Exit.UNREACHABLE
    rows = [*shown["checks"], *members]
    return Exit.NEEDS_PERSON if any(row["state"] == "fail" for row in rows) else Exit.DONE


def doctor_lines(shown: dict[str, Any]) -> list[str]:
    """This node's checks, then the members: a line each, with what helps, and each way that fails, below it."""
    heads = [str(row["check"]) for row in shown["checks"]]
    heads += [neutral(str(row["name"])) for row in shown["members"]]
    room = max(map(width, heads), default=0)
    lines = [f"This node: {neutral(str(shown['name']))}"]
    for row in shown["checks"]:
        lines += _lines(row, str(row["check"]), room)
    if shown["members"]:
        lines += ["", "Members:"]
    for row in shown["members"]:
        lines += _lines(row, neutral(str(row["name"])), room)
        lines += _way_lines(row, room)
    if shown["others"]:
        lines.append(f"and {count(int(shown['others']), 'other member')}, not linked with this node: that is enough")
    if not shown["members"] and not shown["others"]:
        lines += ["", "No other member was looked at"]
    return lines


def _lines(row: dict[str, Any], head: str, room: int) -> list[str]:
    state = str(row["state"])
    lines = [f"{_mark(state)} {head}{' ' * (room - width(head))}  {neutral(str(row['text']))}"]
    if row["fix"]:
        lines.append(f"  {' ' * room}  next: {neutral(str(row['fix']))}")
    return lines


def _way_lines(row: dict[str, Any], room: int) -> list[str]:
    """The addresses that lead nowhere, where the line above does not name them all."""
    named = str(row["text"])
    lost = [way for way in row["ways"] if way["code"] != "reached" and str(way["address"]) not in named]
    if row["state"] == "off":
        return []  # of course they do
    return [
        f"  {' ' * room}  {neutral(str(way['address']))} leads nowhere from here: {neutral(str(way['text']))}"
        for way in lost
    ]


def _mark(state: str) -> str:
    """A sign that also says it without colour, in what the terminal can show."""
    fine, plain = MARKS.get(state, ("?", "?"))
    try:
        fine.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        fine = plain
    return paint(fine, COLOURS.get(state, ""), sys.stdout)
