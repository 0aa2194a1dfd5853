"""`up` and `join`: run the node of a folder, here or in the background."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from meerkat.cli.folder import folder_to_start
from meerkat.cli.group import command
from meerkat.cli.options import Address, start_options
from meerkat.cli.show import print_json, say
from meerkat.model.config import Settings
from meerkat.model.fault import Exit

CODE_CHARS_MIN = 40
"""A code holds a secret of 128 bits and an address; no shorter word can be one."""


@command("up")
@click.argument("folder", metavar="[DIR]", required=False, envvar="MEERKAT_DIR")
@start_options
def up(folder: str | None, **flags: Any) -> int:
    """Run the node of a folder; make a new pool where there is none."""
    return _start(_settings(folder_to_start(folder), flags), flags)


@command("join")
@click.argument("words", metavar="CODE [DIR]", nargs=-1)
@click.option("--via", type=Address(), help="Join through the member at this address.")
@click.option("--merge", is_flag=True, help="Join with the files that are in the folder, without asking.")
@click.option("--dry-run", is_flag=True, help="Print what joining would do, and do nothing.")
@start_options
def join(words: tuple[str, ...], via: str | None, merge: bool, dry_run: bool, **flags: Any) -> int:
    """Join a pool with an invite, and run.

    CODE may be - to read it from standard input, or come from MEERKAT_INVITE.
    """
    code, folder = split_code(words, os.environ.get("MEERKAT_INVITE", ""))
    if code == "-":
        code = sys.stdin.readline().strip()
        if not code:
            raise click.UsageError("there was no code on standard input")
    directory = folder_to_start(folder) if folder is not None else str(Path.cwd())
    settings = _settings(directory, flags, invite=code, via=via, merge=merge, dry_run=dry_run)
    return _start(settings, flags)


def split_code(words: tuple[str, ...], from_environment: str) -> tuple[str, str | None]:
    """The code and the folder among `[CODE] [DIR]`; one word beside `MEERKAT_INVITE` is the folder unless it is a code.

    Raises:
        click.UsageError: no code, or more than two words.
    """
    if len(words) > 2:
        raise click.UsageError(f"got {len(words)} arguments where a code and a folder are expected")
    if len(words) == 2:
        return words[0], words[1]
    if len(words) == 1:
        word = words[0]
        is_code = word == "-" or (len(word) >= CODE_CHARS_MIN and "/" not in word and not Path(word).exists())
        return (word, None) if is_code or not from_environment else (from_environment, word)
    if not from_environment:
        raise click.UsageError("the invite's code is missing")
    return from_environment, None


def _settings(directory: str, flags: dict[str, Any], **more: Any) -> Settings:
    return Settings(
        directory=directory,
        listen=flags["listen"],
        advertise=tuple(flags["advertise"]),
        name=flags["name"],
        web=flags["web"],
        discovery=None if flags["discovery"] is None else flags["discovery"] == "on",
        log_level=flags["log_level"],
        hold=None if flags["hold"] is None else flags["hold"] == "on",
        rescan_interval_s=flags["rescan_interval"],
        **more,
    )


def _start(settings: Settings, flags: dict[str, Any]) -> int:
    if flags["detach"] and not settings.dry_run:
        return _start_detached(settings, as_json=flags["as_json"])
    from meerkat.cli.foreground import choose_face, run_foreground

    face = choose_face(settings, as_json=flags["as_json"], progress=flags["progress"], detached=flags["detached"])
    with _folder_for_join(settings):
        return run_foreground(settings, face)


@contextmanager
def _folder_for_join(settings: Settings) -> Iterator[None]:
    """Make the folder of a newcomer when only it is missing, and take it away again when nothing came of the join.

    `up` does not do this: a missing folder there may be a disk that is not mounted, and a new pool in its place would
    look like success.
    """
    folder = Path(settings.directory)
    made = bool(settings.invite) and not folder.exists() and folder.parent.is_dir()
    if made:
        folder.mkdir()
    try:
        yield
    finally:
        if made:
            with suppress(OSError):  # it holds something by now, which is the usual case
                folder.rmdir()


def _start_detached(settings: Settings, *, as_json: bool) -> int:
    from meerkat.cli.background import start_background
    from meerkat.cli.foreground import ready_lines

    ready = start_background(settings)
    if as_json:
        print_json(ready)
    else:
        for line in ready_lines(ready):
            say(line)
    return Exit.DONE
