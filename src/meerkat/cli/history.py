"""`history`: what happened to paths, who did it, and which versions can be had back."""

from datetime import datetime
from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import Cell, ago, neutral, now, print_json, say, size, table


@command("history")
@click.argument("where", metavar="[DIR] [PATH]...", nargs=-1)
@click.option("--deleted", is_flag=True, help="Only deletions.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many lines.")
@json_option
def history(where: tuple[str, ...], deleted: bool, limit: int, as_json: bool) -> None:
    """Show what happened to a path, or to all, the newest first."""
    folder, paths = split_folder(where)
    shown = [
        row
        for path in (paths or (None,))
        for row in ask.call(folder, "history", {"path": path, "deleted": deleted, "limit": limit})
    ]
    if as_json:
        for row in shown:
            print_json(row)
        return
    if paths and not shown:
        say(f"No changes of {' or '.join(neutral(path) for path in paths)} are recorded")
        return
    for line in history_lines(shown, now()):
        say(line)


def history_lines(shown: list[dict[str, Any]], at: datetime) -> list[str]:
    if not shown:
        return ["No changes recorded yet"]
    rows: list[list[Cell | str]] = [
        [
            ago(row["at"], at),
            neutral(str(row["name"])),
            _change(row),
            neutral(str(row["path"])),
            size(int(row.get("size") or 0)) if row.get("version") else "–",
            str(row.get("version") or "–"),
            ", ".join(row.get("restorable_from", [])) or "–",
        ]
        for row in shown
    ]
    head: list[Cell | str] = ["WHEN", "NODE", "CHANGE", "PATH", "SIZE", "VERSION", "HERE IN"]
    return [*table([head, *rows], indent=""), "", "Have one back: meerkat restore PATH --version VERSION"]


def _change(row: dict[str, Any]) -> str:
    """What was done; of a version that was given up, whose it was."""
    word = str(row["op"]).replace("_", " ")
    return f"{word} {neutral(str(row['abandoned']['name']))}'s" if row.get("abandoned") else word
