"""`demo`: a whole pool on this machine. It believes the folders, not the nodes, and fails when they differ."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from meerkat.cli.demo_pool import DemoPool
from meerkat.cli.demo_steps import STEPS, Step
from meerkat.cli.group import command
from meerkat.cli.options import json_option
from meerkat.cli.show import homely, print_json, say, size, span
from meerkat.model.fault import Exit, Fault

NODES_MAX = 12
STEP_TIMEOUT_S = 60.0
NAMES = ("ada", "ben", "cleo", "dan", "eva", "fred", "gina", "hugo", "ida", "jon", "kim", "lea")


@command("demo")
@click.option(
    "--nodes", type=click.IntRange(2, NODES_MAX), default=3, show_default=True, help="How many nodes to start."
)
@click.option("--keep", is_flag=True, help="Leave the folders and logs for a look afterwards.")
@click.option("--no-web", is_flag=True, help="Without dashboards.")
@json_option
def demo(nodes: int, keep: bool, no_web: bool, as_json: bool) -> int:
    """Watch a whole pool at work on this machine.

    Starts real nodes in a temporary folder, edits files, makes a conflict, kills a node, and compares the folders
    after each step. Exits 0 only if all of them are equal at the end.
    """
    base = Path(tempfile.mkdtemp(prefix="meerkat-demo-"))
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, _as_interrupt) for number in ends]
    show = Show(as_json=as_json)
    pool = DemoPool(base, web=not no_web)
    try:
        run_demo(pool, nodes, show, STEPS)
    finally:
        pool.close()
        for number, handler in zip(ends, before, strict=True):
            signal.signal(number, handler)
        if keep:
            print(f"kept: {homely(str(base))}", file=sys.stderr)
        else:
            shutil.rmtree(base, ignore_errors=True)
    return Exit.DONE


class Show:
    """What the demo says as it goes."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def line(self, title: str, seconds: float | None = None, remark: str = "") -> None:
        if self.as_json:
            took_s = None if seconds is None else round(seconds, 3)
            print_json({"step": title, "seconds": took_s, "remark": remark or None})
            return
        took = "" if seconds is None else f"equal after {span(seconds)}"
        say(f"{title:<62} {took}".rstrip())
        if remark:
            say(f"    {remark}")


def run_demo(pool: DemoPool, nodes: int, show: Show, steps: Sequence[Step]) -> None:
    """Build a chain of nodes, take the steps, and compare at the end with every file read again.

    Raises:
        Fault: a node failed, or the folders did not become equal in time.
    """
    for number in range(nodes):
        start = time.monotonic()
        # Each one joins through the one before it: no member is special.
        code = pool.ask(pool.nodes[-1], "invite")["code"] if pool.nodes else None
        node = pool.add(NAMES[number], code)
        through = "makes the pool" if number == 0 else f"joins through {NAMES[number - 1]}"
        web = f"dashboard {node.web}" if node.web else ""
        show.line(f"{node.name} {through} ({span(time.monotonic() - start)})", None, web)
    for step in steps:
        step.act(pool)
        seconds = pool.await_equal(STEP_TIMEOUT_S)
        show.line(step.title, seconds, step.check(pool))
    _judge(pool, show)


def _judge(pool: DemoPool, show: Show) -> None:
    pool.reader.forget()
    differing = pool.compare()
    if differing:
        raise Fault(
            "not_equal", "the folders differ at the end", cause="; ".join(differing), exit_code=Exit.UNREACHABLE
        )
    tree = next(iter(pool.trees().values()))
    total = sum(path.lstat().st_size for path in (pool.nodes[0].folder / name for name in tree) if path.is_file())
    show.line(f"all {len(pool.nodes)} folders are equal: {len(tree)} paths, {size(total)}")


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
