"""`events`: what the node tells all its faces, one line each."""

from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import find_folder
from meerkat.cli.group import command
from meerkat.cli.options import dir_argument, json_option
from meerkat.cli.show import moment, neutral, print_json, say, size
from meerkat.model.ids import is_id

ID_CHARS_SHOWN = 8


@command("events")
@dir_argument
@click.option("--since", type=click.IntRange(min=0), help="Begin after this sequence number.")
@json_option
def events(folder: str | None, since: int | None, as_json: bool) -> None:
    """Print what happens, as it happens."""
    for event in ask.stream(find_folder(folder), "events", {"since": since}):
        if as_json:
            print_json(event)
        else:
            say(f"{clock(event.get('at'))}  {describe(event)}")


def clock(text: object) -> str:
    """The time of day of an event, where the person is."""
    then = moment(text)
    return then.astimezone().strftime("%H:%M:%S") if then else "--:--:--"


def describe(event: dict[str, Any]) -> str:
    """One event in a line: what, where, and what the event adds."""
    data = event.get("data") or {}
    node = str(data.get("name") or data.get("node") or event.get("node") or "")
    node = node[:ID_CHARS_SHOWN] if is_id(node) else node
    words = [str(event.get("type", "event")), str(data.get("path") or ""), node]
    known = {"path", "name", "node"}
    for key, value in data.items():
        if key in known or value is None or isinstance(value, dict | list):
            continue
        shown = size(value) if key in ("bytes", "size") and isinstance(value, int) else value
        words.append(f"{key}={shown}")
    return neutral("  ".join(word for word in words if word))
