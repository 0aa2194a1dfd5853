"""`conflicts`: files that were edited in two places, with every version named by its node and its time."""

from datetime import datetime
from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import find_folder
from meerkat.cli.group import command
from meerkat.cli.options import dir_argument, json_option
from meerkat.cli.show import Cell, ago, count, neutral, now, print_json, say, size, table
from meerkat.model.fault import Exit


@command("conflicts")
@dir_argument
@click.option("--check", is_flag=True, help="Exit with 7 when there are any.")
@json_option
def conflicts(folder: str | None, check: bool, as_json: bool) -> int:
    """List files that were edited in two places."""
    shown = ask.call(find_folder(folder), "conflicts", {})
    if as_json:
        print_json(shown)
    else:
        for line in conflict_lines(shown, now()):
            say(line)
    return Exit.NEEDS_PERSON if check and shown else Exit.DONE


def conflict_lines(shown: list[dict[str, Any]], at: datetime) -> list[str]:
    if not shown:
        return ["No conflicts"]
    lines = [f"{count(len(shown), 'file')} with more than one version; each version is a file of its own:"]
    for one in shown:
        lines.append("")
        lines.append(neutral(str(one["path"])))
        rows: list[list[Cell | str]] = [
            [
                neutral(str(copy["path"])) + ("" if copy.get("copied", True) else " (not copied yet)"),
                neutral(str(copy.get("name") or copy.get("node") or "–")),
                ago(copy.get("at"), at),
                size(int(copy.get("size") or 0)),
            ]
            for copy in one["copies"]
        ]
        lines.extend(table(rows))
    lines.append("")
    lines.append("Compare: meerkat diff PATH    Settle: meerkat resolve PATH --keep NODE, newest or both")
    return lines
