"""Options that several commands share, and the ways in which people write lengths of time and addresses."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Duration(click.ParamType[float]):
    """`90s`, `30m`, `1h`, `7d`; a bare number is seconds. The value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
        if match is None or (match[2] and match[2] not in _SECONDS):
            self.fail(f'"{value}" is not a length of time; write 90s, 30m, 1h or 7d', param, ctx)
        return float(match[1]) * _SECONDS[match[2] or "s"]


class Address(click.ParamType[str]):
    """`HOST:PORT`, an IPv6 host in brackets; with `off` for what can be switched off."""

    name = "host:port"

    def __init__(self, *, or_off: bool = False) -> None:
        self.or_off = or_off

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        if self.or_off and text == "off":
            return text
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            self.fail(f'"{text}" is not HOST:PORT', param, ctx)
        if ":" in host and not bracketed:
            self.fail(f'write the IPv6 address in brackets: "[{host}]:{port}"', param, ctx)
        return text


def dir_argument(function: F) -> F:
    """`[DIR]`: the node's folder."""
    return click.argument("folder", metavar="[DIR]", required=False, envvar="MEERKAT_DIR")(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def progress_option(function: F) -> F:
    return click.option(
        "--progress",
        type=click.Choice(["auto", "tty", "plain", "quiet"]),
        default="auto",
        show_default=True,
        help="How to show what goes on: a live view, lines, or nothing.",
    )(function)


def start_options(function: F) -> F:
    """What `up` and `join` have in common."""
    options = [
        click.option("--name", help="What people call this node; the machine's name unless given."),
        click.option("--listen", type=Address(), help="Accept members here. Port 0 picks a free one and keeps it."),
        click.option(
            "--advertise", type=Address(), multiple=True, help="Tell members this address of ours; may be repeated."
        ),
        click.option("--web", type=Address(or_off=True), help="Where the dashboard answers, or off."),
        click.option(
            "--discovery",
            type=click.Choice(["on", "off"]),
            help="Find members in the local network; on where meerkat-sync[discovery] is installed.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default="info",
            show_default=True,
            help="How much goes to the log.",
        ),
        click.option(
            "--rescan-interval",
            type=Duration(),
            default="1h",
            show_default=True,
            help="How often to look at every file, for what the watcher missed.",
        ),
        click.option(
            "--hold",
            type=click.Choice(["on", "off"]),
            help="Hold mass deletions until a person agrees; on unless node.toml says otherwise.",
        ),
        click.option("-d", "--detach", is_flag=True, help="Run in the background; return when the node is up."),
        click.option("--detached", is_flag=True, hidden=True, help="This process is the one in the background."),
        progress_option,
        json_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function
