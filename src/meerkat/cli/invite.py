"""`invite`: the secret that admits another machine, as a command to paste there."""

from typing import Any

import click

from meerkat.cli import ask
from meerkat.cli.folder import find_folder
from meerkat.cli.group import DefaultGroup, command
from meerkat.cli.options import Duration, dir_argument, json_option
from meerkat.cli.show import ahead, count, neutral, now, print_json, say, table, typed
from meerkat.model.limits import INVITE_LIFE_S_DEFAULT, INVITE_USES_MAX


@command("new")
@dir_argument
@click.option(
    "--uses", type=click.IntRange(1, INVITE_USES_MAX), default=1, show_default=True, help="How many machines may join."
)
@click.option(
    "--for", "life", type=Duration(), default=INVITE_LIFE_S_DEFAULT, show_default="1h", help="How long it is good."
)
@click.option("--qr", is_flag=True, help="Show the code as a QR code, too.")
@json_option
def new(folder: str | None, uses: int, life: float, qr: bool, as_json: bool) -> None:
    """Print the command that lets another machine join."""
    found = find_folder(folder)
    made = ask.call(found, "invite", {"uses": uses, "for": life})
    if as_json:
        print_json(made)
        return
    say(f"Run this on the other machine ({terms(made)}):")
    say()
    say(f"  {join_command(made, str(found))}")
    if qr:
        import segno

        code = segno.make(str(made["code"]), micro=False)
        say()
        code.terminal(compact=True)


def join_command(made: dict[str, Any], folder: str) -> str:
    """The command for the next machine, with a folder of the same name as here: it can be pasted as it stands."""
    return f"meerkat join {neutral(str(made['code']))} {typed(folder)}"


def terms(made: dict[str, Any]) -> str:
    """How long and how often an invite can be used."""
    return f"good for {ahead(made['expires_at'], now())}, {count(int(made['uses_left']), 'use')} left"


invite = DefaultGroup("invite", default=new, help=new.help)


@command("list")
@dir_argument
@json_option
def list_invites(folder: str | None, as_json: bool) -> None:
    """List the invites that can still be used."""
    shown = ask.call(find_folder(folder), "invite_list", {})
    if as_json:
        print_json(shown)
    elif not shown:
        say("No open invites. Make one: meerkat invite")
    else:
        rows = [[neutral(str(one["id"])), standing(one)] for one in shown]
        for line in table(rows, indent=""):
            say(line)


def standing(one: dict[str, Any]) -> str:
    """What can be done with an invite, or what was done that should not have been."""
    used, uses = int(one.get("used", 0)), int(one.get("uses", 1))
    if kept_out := one.get("suspended", []):
        names = neutral(", ".join(map(str, kept_out)))
        return f"used by {used + len(kept_out)} nodes, was for {uses}: {names} is kept out. Is the code in other hands?"
    if used > uses:
        return f"used by {used} nodes, was for {uses}. Look at them: meerkat nodes"
    return terms(one)


@command("revoke")
@click.argument("invite_id", metavar="ID")
@click.option("--folder", metavar="DIR", help="The node's folder, when not the current one.")
@json_option
def revoke(invite_id: str, folder: str | None, as_json: bool) -> None:
    """Make an invite useless."""
    result = ask.call(find_folder(folder), "invite_revoke", {"id": invite_id})
    if as_json:
        print_json(result)
    else:
        say(f"Invite {neutral(invite_id)} admits nobody any more")


invite.add_command(list_invites)
invite.add_command(revoke)
