"""What happens in the demo: edits as people make them, and a promise after each that the folders become equal."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from meerkat.cli.demo_pool import POLL_S, DemoPool
from meerkat.model.fault import Fault
from meerkat.model.path import MARKER

BIG_FILE_BYTES = 48 * 1024 * 1024
SMALL_FILES = 200
SEED = 20_200
FIRST_TEXT = "the plan of the first\n"
LAST_TEXT = "the plan of the last\n"
ARRIVE_TIMEOUT_S = 10.0


class Step(NamedTuple):
    """One thing that is done to the pool.

    Attributes:
        act: does it; then the folders must become equal.
        check: looks at the equal folders, raises `Fault` when they are not as they must be, returns a remark.
    """

    title: str
    act: Callable[[DemoPool], None]
    check: Callable[[DemoPool], str] = lambda pool: ""


def create(pool: DemoPool) -> None:
    first, last = pool.nodes[0].folder, pool.nodes[-1].folder
    (first / "notes.txt").write_text("buy meerkat food\n")
    (last / "letter.txt").write_text("Dear Ada,\n")


def edit(pool: DemoPool) -> None:
    with (pool.nodes[-1].folder / "notes.txt").open("a") as notes:
        notes.write("and water\n")


def many(pool: DemoPool) -> None:
    folder = pool.nodes[0].folder / "photos" / "2024"
    folder.mkdir(parents=True)
    for number in range(SMALL_FILES):
        (folder / f"{number:03}.txt").write_text(f"picture {number}\n")


def rename_and_delete(pool: DemoPool) -> None:
    folder = pool.nodes[1].folder
    (folder / "photos").rename(folder / "pictures")
    (folder / "letter.txt").unlink()


def bits_and_links(pool: DemoPool) -> None:
    folder = pool.nodes[-1].folder
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    (folder / "newest").symlink_to("pictures/2024")
    (folder / "empty").mkdir()


def edit_apart(pool: DemoPool) -> None:
    """Two people edit one file while their nodes cannot talk."""
    first, last = pool.nodes[0], pool.nodes[-1]
    pool.stop(last)
    (first.folder / "notes.txt").write_text(FIRST_TEXT)
    (last.folder / "notes.txt").write_text(LAST_TEXT)
    pool.start(last)


def both_kept(pool: DemoPool) -> str:
    """Both texts are there, under two names, and the pool says that a person should look."""
    folder = pool.nodes[0].folder
    names = sorted(path.name for path in folder.glob("notes*.txt"))
    texts = {(folder / name).read_text() for name in names}
    if texts != {FIRST_TEXT, LAST_TEXT}:
        raise Fault("demo_failed", "one of two concurrent edits is missing", cause=", ".join(sorted(texts)))
    listed = [one["path"] for one in pool.ask(pool.nodes[0], "conflicts")]
    if listed != ["notes.txt"]:
        raise Fault("demo_failed", "the conflict is not listed", cause=f"meerkat conflicts says {listed}")
    return f"both versions are kept and listed: {', '.join(names)}"


def big_and_killed(pool: DemoPool) -> None:
    """A big file arrives while a node is killed without warning; it comes back and goes on."""
    first, victim = pool.nodes[0], pool.nodes[1]
    _write_big(first.folder / "video.bin")
    _await_arriving(victim.folder)
    pool.stop(victim, signal.SIGKILL)
    (first.folder / "while-away.txt").write_text("written while one was dead\n")
    pool.start(victim)


def _await_arriving(folder: Path) -> None:
    """Wait until a node has begun to fetch; a node that never does shows soon enough, so this gives up in silence."""
    deadline = time.monotonic() + ARRIVE_TIMEOUT_S
    stage, target = folder / MARKER / "stage", folder / "video.bin"
    while time.monotonic() < deadline and not target.exists():
        if any(path.is_file() and path.stat().st_size for path in _listed(stage)):
            return
        time.sleep(POLL_S)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def front_insert(pool: DemoPool) -> None:
    """One byte more at the front of the big file: only a piece of it travels."""
    path = pool.nodes[0].folder / "video.bin"
    path.write_bytes(b"!" + path.read_bytes())


def _write_big(path: Path) -> None:
    dice = random.Random(SEED)
    with path.open("wb") as file:
        for _ in range(BIG_FILE_BYTES >> 20):
            file.write(dice.randbytes(1 << 20))


STEPS = (
    Step("two files made on two nodes", create),
    Step("an edit on another node", edit),
    Step(f"{SMALL_FILES} files in folders", many),
    Step("the folder renamed, a file deleted", rename_and_delete),
    Step("an executable, a link, an empty folder", bits_and_links),
    Step("one file edited on two nodes while apart", edit_apart, both_kept),
    Step(f"a file of {BIG_FILE_BYTES // 10**6} MB, one node killed with -9 and back", big_and_killed),
    Step("a byte inserted at the front of the big file", front_insert),
)
