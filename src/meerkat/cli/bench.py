"""`bench`: the harness of `bench/`, handed every word that follows. It measures from outside, so it is started as a
program of its own and nothing of it is imported here."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import click

from meerkat.cli.group import command
from meerkat.model.fault import Fault

PACKAGED, IN_THE_SOURCE = "meerkat.bench", "bench"
SOURCE = Path(__file__).resolve().parents[3]
"""The repository, where this module lies in one."""


@command("bench", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[WORKLOAD]... [OPTION]...")
def bench(words: tuple[str, ...]) -> int:
    """Measure this build on this machine, others beside it.

    Rsync, Unison and Syncthing take part where they are installed.
    """
    package, environment = harness()
    return subprocess.run([sys.executable, "-m", package, *words], env=environment, check=False).returncode


def harness() -> tuple[str, dict[str, str]]:
    """The package to run, and the environment in which Python finds it.

    Raises:
        Fault: `not_found`, where this installation came without it.
    """
    if importlib.util.find_spec(PACKAGED) is not None:
        return PACKAGED, dict(os.environ)
    if (SOURCE / IN_THE_SOURCE / "__main__.py").exists():
        return IN_THE_SOURCE, {**os.environ, "PYTHONPATH": str(SOURCE)}
    missing = "this installation of Meerkat came without the bench"
    raise Fault("not_found", missing, hint="install it from its source, which has one")
