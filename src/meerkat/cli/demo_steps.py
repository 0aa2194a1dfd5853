"""What happens in the demo: edits as people make them, and a promise after each that the folders become equal."""

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from meerkat.cli.demo_pool import DemoPool
from meerkat.model.fault import Fault

BIG_FILE_BYTES = 48 * 1024 * 1024
SMALL_FILES = 200
SEED = 20_200


class Step(NamedTuple):
    """One thing that is done to the pool. `act` returns a remark for the person, or nothing."""

    title: str
    act: Callable[[DemoPool], str]


def create(pool: DemoPool) -> str:
    first, last = pool.nodes[0].folder, pool.nodes[-1].folder
    (first / "notes.txt").write_text("buy meerkat food\n")
    (last / "letter.txt").write_text("Dear Ada,\n")
    return ""


def edit(pool: DemoPool) -> str:
    with (pool.nodes[-1].folder / "notes.txt").open("a") as notes:
        notes.write("and water\n")
    return ""


def many(pool: DemoPool) -> str:
    folder = pool.nodes[0].folder / "photos" / "2024"
    folder.mkdir(parents=True)
    for number in range(SMALL_FILES):
        (folder / f"{number:03}.txt").write_text(f"picture {number}\n")
    return ""


def rename_and_delete(pool: DemoPool) -> str:
    folder = pool.nodes[1].folder
    (folder / "photos").rename(folder / "pictures")
    (folder / "letter.txt").unlink()
    return ""


def bits_and_links(pool: DemoPool) -> str:
    folder = pool.nodes[-1].folder
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    (folder / "newest").symlink_to("pictures/2024")
    (folder / "empty").mkdir()
    return ""


def conflict(pool: DemoPool) -> str:
    """Two people edit one file while their nodes cannot talk."""
    first, last = pool.nodes[0], pool.nodes[-1]
    pool.stop(last)
    (first.folder / "notes.txt").write_text("the plan of the first\n")
    (last.folder / "notes.txt").write_text("the plan of the last\n")
    pool.start(last)
    pool.await_equal(60)
    texts = {path.read_text() for path in first.folder.glob("notes*.txt")}
    if texts != {"the plan of the first\n", "the plan of the last\n"}:
        raise Fault("demo_failed", "one of two concurrent edits is missing", cause=", ".join(sorted(texts)))
    names = ", ".join(sorted(path.name for path in first.folder.glob("notes*.txt")))
    listed = pool.ask(first, "conflicts")
    return f"both versions are there: {names}; listed by meerkat conflicts: {len(listed)}"


def big_and_killed(pool: DemoPool) -> str:
    """A big file arrives while a node is killed without warning; it comes back and goes on."""
    victim = pool.nodes[1]
    _write_big(pool.nodes[0].folder / "video.bin")
    pool.stop(victim, signal.SIGKILL)
    (pool.nodes[0].folder / "while-away.txt").write_text("written while one was dead\n")
    pool.start(victim)
    return ""


def front_insert(pool: DemoPool) -> str:
    """One byte more at the front of the big file: only a piece of it travels."""
    path = pool.nodes[0].folder / "video.bin"
    path.write_bytes(b"!" + path.read_bytes())
    return ""


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
    Step("one file edited on two nodes while apart", conflict),
    Step(f"a file of {BIG_FILE_BYTES // 10**6} MB, one node killed with -9 and back", big_and_killed),
    Step("a byte inserted at the front of the big file", front_insert),
)
