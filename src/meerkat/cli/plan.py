"""What joining would do to a folder that already holds files, and the question whether to go on.

Invariant: without a yes (from a terminal or `--merge`) nothing is merged. Joining never deletes, and the plan says so.
"""

import asyncio
import os
import sys
from typing import Any

from meerkat.cli.show import count, homely, say, size
from meerkat.model.fault import Exit, Fault

PLAN_WORDS = (
    ("identical", "the same here and in the pool"),
    ("download", "to come from the pool"),
    ("only_here", "only here, to go to the pool"),
    ("differ", "different; both versions are kept"),
    ("delete", "to be deleted"),
)


def plan_lines(folder: str, plan: dict[str, Any]) -> list[str]:
    """The plan for a person."""
    lines = [f"Joining with {homely(folder)} as it is:"]
    for key, words in PLAN_WORDS:
        number = int(plan.get(key, 0))
        volume = plan.get(f"{key}_bytes")
        weight = f" ({size(int(volume))})" if volume and number else ""
        lines.append(f"  {count(number, 'file'):>14}  {words}{weight}")
    return lines


def holds_files(plan: dict[str, Any]) -> bool:
    """Whether the folder holds anything that joining would mix with the pool's."""
    return any(int(plan.get(key, 0)) for key in ("identical", "only_here", "differ"))


def needs_merge(folder: str, plan: dict[str, Any]) -> Fault:
    """The refusal to mix a folder's files with a pool's without a yes."""
    here = sum(int(plan.get(key, 0)) for key in ("identical", "only_here", "differ"))
    return Fault(
        "needs_merge",
        f"{homely(folder)} holds {count(here, 'file')}; joining would mix them with the pool's, which needs a yes",
        hint="look with --dry-run, then add --merge",
        exit_code=Exit.REFUSED,
    )


def can_ask() -> bool:
    """Whether a person is there to answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


async def ask_yes(question: str, stop: asyncio.Event) -> bool:
    """Ask on the terminal; anything but a yes is a no, and so is `stop`.

    The answer is awaited on the loop and not read in a thread, so that Ctrl-C ends the wait.
    """
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def readable() -> None:
        loop.remove_reader(fileno)
        if not answer.done():
            answer.set_result(os.read(fileno, 1024).decode("utf-8", "replace"))

    fileno = sys.stdin.fileno()
    loop.add_reader(fileno, readable)
    stopped = asyncio.ensure_future(stop.wait())
    waits: list[asyncio.Future[Any]] = [answer, stopped]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(fileno)
        stopped.cancel()
    if not answer.done():
        say()
        return False
    return answer.result().strip().lower() in ("y", "yes")
