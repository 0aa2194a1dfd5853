"""`meerkat`: the list of commands and the way into each.

The list is a table rather than a set of imports: `meerkat --help` shows it without loading any command, and loads
neither gRPC nor rich (a test looks).
"""

import os
import sys
from typing import NoReturn

import click

import meerkat
from meerkat.cli.edge import guard
from meerkat.cli.group import ENVIRONMENT_PREFIX, Lazy, LazyGroup

COMMANDS = {
    "up": Lazy("Set up", "meerkat.cli.start:up", "Run the node of a folder; make a new pool where there is none."),
    "join": Lazy("Set up", "meerkat.cli.start:join", "Join a pool with an invite, and run."),
    "invite": Lazy("Set up", "meerkat.cli.invite:invite", "Print the command that lets another machine join."),
    "leave": Lazy("Set up", "meerkat.cli.stop:leave", "Take this node out of the pool; the files stay."),
    "status": Lazy("See", "meerkat.cli.status:status", "Show how pool, nodes and this node stand."),
    "why": Lazy("See", "meerkat.cli.why:why", "Tell why a path is not on every node, and what to do."),
    "nodes": Lazy("See", "meerkat.cli.nodes:nodes", "List the pool's nodes; rename this one, remove another."),
    "doctor": Lazy(
        "See", "meerkat.cli.doctor:doctor", "Tell what is wrong here, and which way to whom fails, and why."
    ),
    "events": Lazy("See", "meerkat.cli.events:events", "Print what happens, as it happens."),
    "logs": Lazy("See", "meerkat.cli.logs:logs", "Print the node's log; works when it is down, too."),
    "wait": Lazy("Act", "meerkat.cli.wait:wait", "Block until the nodes have what is in the folder now."),
    "scan": Lazy("Act", "meerkat.cli.scan:scan", "Look at the files now instead of waiting for the watcher."),
    "conflicts": Lazy("Recover", "meerkat.cli.conflicts:conflicts", "List files that were edited in two places."),
    "diff": Lazy("Recover", "meerkat.cli.diff:diff", "Show in what the versions of a file in conflict differ."),
    "resolve": Lazy(
        "Recover", "meerkat.cli.resolve:resolve", "Settle a conflict; what does not stay goes to the trash."
    ),
    "abandon": Lazy("Recover", "meerkat.cli.abandon:abandon", "Give up a version whose bytes no node has any more."),
    "history": Lazy(
        "Recover", "meerkat.cli.history:history", "Show what happened to a path, or to all, the newest first."
    ),
    "restore": Lazy(
        "Recover", "meerkat.cli.restore:restore", "Bring back a past version of a file, or what was deleted."
    ),
    "holds": Lazy(
        "Recover", "meerkat.cli.holds:holds", "List mass deletions that wait for a yes; allow or reject one."
    ),
    "scrub": Lazy(
        "Recover", "meerkat.cli.scrub:scrub", "Read all files again and heal from other nodes what has rotted."
    ),
    "down": Lazy("Run", "meerkat.cli.stop:down", "Stop the node of a folder; it stays a member."),
    "demo": Lazy("Run", "meerkat.cli.demo:demo", "Watch a whole pool at work on this machine."),
    "bench": Lazy("Run", "meerkat.cli.bench:bench", "Measure this build on this machine, others beside it."),
    "completion": Lazy("Configure", "meerkat.cli.about:completion", "Print the completion script of a shell."),
    "version": Lazy("Configure", "meerkat.cli.about:version", "Print the versions of program and protocol."),
}

EXAMPLES = """\b
Keeps a folder the same on every machine that shares it.

\b
  meerkat up ~/Shared                 share a folder; prints the command for the next machine
  meerkat join CODE ~/Shared          on the next machine
  meerkat status                      see whether everything is everywhere
"""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    help=EXAMPLES,
    epilog="Every option can be set as MEERKAT_OPTION. Exit codes: 0 done, 1 error, 2 usage, 3 no node runs, "
    "4 not found, 5 not allowed, 6 unreachable or timed out, 7 needs a person, 8 refused for safety, 130 Ctrl-C.",
    context_settings={"auto_envvar_prefix": ENVIRONMENT_PREFIX, "help_option_names": ["-h", "--help"]},
)
@click.version_option(meerkat.__version__, message="meerkat %(version)s")
def root() -> None:
    pass


def run(args: list[str]) -> int:
    """Parse and carry out one command line; returns its exit code."""
    return guard(lambda args: root.main(args, prog_name="meerkat", standalone_mode=False), args)


def main() -> NoReturn:
    """The `meerkat` command."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets it spelt out, not a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # The C core would print its own warnings between our lines; what matters reaches us as an error.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(run(sys.argv[1:]))
