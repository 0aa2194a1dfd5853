"""`version` and `completion`: what this program is, and how a shell can complete its words."""

import platform

import click
from click.shell_completion import get_completion_class

import meerkat
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import print_json, say
from meerkat.model.frame import PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN


@command("version")
@json_option
def version(as_json: bool) -> None:
    """Print the versions of program and protocol."""
    shown = {
        "version": meerkat.__version__,
        "protocol_min": PROTOCOL_VERSION_MIN,
        "protocol_max": PROTOCOL_VERSION_MAX,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    if as_json:
        print_json(shown)
        return
    say(f"meerkat {shown['version']}")
    say(f"protocol {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX}, Python {shown['python']}, {shown['platform']}")


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  meerkat completion bash > ~/.local/share/bash-completion/completions/meerkat
    zsh:   meerkat completion zsh > ~/.zfunc/_meerkat
    fish:  meerkat completion fish > ~/.config/fish/completions/meerkat.fish
    """
    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    say(kind(root, {}, "meerkat", "_MEERKAT_COMPLETE").source())
