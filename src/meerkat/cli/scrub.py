"""`scrub`: read everything again, to find and heal rot."""

import click

from meerkat.cli import ask
from meerkat.cli.folder import split_folder
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import count, neutral, print_json, say, size, span
from meerkat.model.fault import Exit


@command("scrub")
@click.argument("where", metavar="[DIR] [PATH]...", nargs=-1)
@json_option
def scrub(where: tuple[str, ...], as_json: bool) -> int:
    """Read all files again and heal from other nodes what has rotted."""
    folder, paths = split_folder(where)
    result = ask.call(folder, "scrub", {"paths": list(paths)})
    rotten = result["rotten"]
    if as_json:
        print_json(result)
    else:
        took = span(float(result["seconds"]))
        verdict = f"{len(rotten)} rotten" if rotten else "all sound"
        say(f"Read {count(int(result['files']), 'file')} ({size(int(result['bytes']))}) in {took}: {verdict}")
        for one in rotten:
            say(f"  {neutral(str(one['path']))}: {neutral(str(one['text']))}")
    return Exit.DONE if all(one["healed"] for one in rotten) else Exit.NEEDS_PERSON
