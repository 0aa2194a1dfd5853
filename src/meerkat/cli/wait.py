"""`wait`: the barrier for scripts. What was in the folder when it was called is on those nodes when it returns 0."""

import sys
from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import Duration, json_option, progress_option
from meerkat.cli.show import neutral, print_json, say, span
from meerkat.model.fault import Exit
from meerkat.model.problem import Reason

BLOCKED = frozenset(Reason) - {Reason.NO_SOURCE_ONLINE}
"""Reasons that time does not cure. A missing source may come back by itself, so that one is a time-out."""


@command("wait")
@click.argument("where", metavar="[DIR] [PATH]...", nargs=-1)
@click.option(
    "--nodes",
    default="reachable",
    show_default=True,
    metavar="reachable|all|NAME",
    help="Whom to wait for.",
)
@click.option("--timeout", type=Duration(), default="60s", show_default=True, help="Give up after this long.")
@progress_option
@json_option
def wait(where: tuple[str, ...], nodes: str, timeout: float, progress: str, as_json: bool) -> int:
    """Block until the nodes have what is in the folder now."""
    folder, paths = split_folder(where)
    arguments = {"nodes": nodes, "timeout": timeout, "paths": list(paths)}
    loud = not as_json and (progress in ("tty", "plain") or (progress == "auto" and sys.stderr.isatty()))
    result = ask.call(folder, "wait", arguments, _Report() if loud else None)
    if as_json:
        print_json(result)
    else:
        for line in wait_lines(result):
            say(line)
    return verdict(result)


def verdict(result: dict[str, Any]) -> Exit:
    """The exit code of an answer: a blocked node needs a person, any other lack is a time-out."""
    if result["done"]:
        return Exit.DONE
    blocked = any(one.get("reason") in BLOCKED for one in result.get("waiting_for", []))
    return Exit.NEEDS_PERSON if blocked else Exit.UNREACHABLE


def wait_lines(result: dict[str, Any]) -> list[str]:
    took = span(float(result["seconds"]))
    if result["done"]:
        return [f"Everything is there ({took})"]
    waiting = [f"  {_name(one)}: {_words(one)}" for one in result.get("waiting_for", [])]
    return [f"Not everything is there after {took}. Still waiting for", *waiting]


def _name(one: dict[str, Any]) -> str:
    return neutral(str(one.get("name") or one["node"]))


def _words(one: dict[str, Any]) -> str:
    return neutral(str(one.get("reason") or "syncing").replace("_", " "))


class _Report:
    """Says whom the wait is for each time that this changes."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, progress: dict[str, Any]) -> None:
        parts = [f"{_name(one)} ({_words(one)})" for one in progress.get("waiting_for", [])]
        text = ", ".join(parts)
        if text and text != self.last:
            self.last = text
            print(f"waiting for {text}", file=sys.stderr)
