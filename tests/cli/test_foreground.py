"""Running a node in this process: signals, exit codes, and what the starter gets to see.

The engine is played by a few lines here; tests with real nodes are elsewhere.
"""

import asyncio
import json
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from meerkat.cli.foreground import (
    Gate,
    JsonFace,
    PlainFace,
    QuietFace,
    choose_face,
    raise_open_files,
    ready_lines,
    run_foreground,
)
from meerkat.cli.start import _folder_for_join
from meerkat.model.config import Settings
from meerkat.model.fault import Exit, Fault
from meerkat.model.limits import OPEN_FILES_WANTED

READY = {
    "event": "ready",
    "pool": "p" * 32,
    "node": "n" * 32,
    "name": "ada",
    "dir": "/data",
    "listen": "127.0.0.1:7447",
    "web": None,
    "pid": 1,
}
PLAN = {"identical": 1, "download": 5, "only_here": 2, "differ": 0, "delete": 0}
ENGINE = """
    import asyncio, json, os, sys
    from meerkat.cli.foreground import JsonFace, run_foreground
    from meerkat.model.config import Settings

    async def engine(settings, on_ready, stop, on_plan):
        on_ready({"event": "ready", "dir": settings.directory, "pid": os.getpid()})
        await stop.wait()
        if "stubborn" in sys.argv:
            print("stopping", flush=True)
            await asyncio.sleep(60)
        print("written", flush=True)
        print("complained", file=sys.stderr, flush=True)

    face = JsonFace(detached="detached" in sys.argv)
    sys.exit(run_foreground(Settings(directory=sys.argv[1]), face, engine))
"""
RunEngine = Callable[..., Awaitable[None]]


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ENGINE), str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "ready"
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, Exit.INTERRUPTED)]
)
def test_a_signal_lets_the_engine_end_in_its_own_order(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """SIGTERM and a lost terminal end with 0, Ctrl-C with 130, all after the engine has put its things away."""
    process = start(tmp_path)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, "written\n")


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    """Who presses Ctrl-C twice is not kept waiting by an engine that hangs."""
    process = start(tmp_path, "stubborn")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_a_node_in_the_background_lets_go_of_its_starter(tmp_path: Path) -> None:
    """After the ready line nothing more goes to the pipes, which the starter closes; complaints go to a file."""
    (tmp_path / ".meerkat").mkdir()
    process = start(tmp_path, "detached")
    assert process.stdout is not None
    assert process.stdout.read() == ""  # end of file while the process still runs: it has let go
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert (tmp_path / ".meerkat" / "log" / "stderr.log").read_text() == "complained\n"
    process.communicate()


async def plans(settings: Settings, on_ready: Any, stop: asyncio.Event, on_plan: Any) -> None:
    """An engine that joins when it may."""
    if await on_plan(PLAN):
        on_ready(READY)


def test_joining_a_folder_with_files_needs_a_yes(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal and without --merge it is refused with 8, after the plan was shown."""
    with pytest.raises(Fault) as caught:
        run_foreground(Settings(directory="/data", invite="CODE"), QuietFace(), plans)
    assert (caught.value.code, caught.value.exit_code) == ("needs_merge", Exit.REFUSED)
    assert "only here" in capsys.readouterr().out


def test_merge_is_a_yes(capsys: pytest.CaptureFixture[str]) -> None:
    """With --merge the plan is shown and the node goes on."""
    assert run_foreground(Settings(directory="/data", invite="CODE", merge=True), PlainFace(), plans) == 0
    out = capsys.readouterr().out
    assert "only here" in out
    assert 'Node "ada" runs for /data' in out


def test_a_dry_run_prints_the_plan_and_stops(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get the plan as an object; nothing becomes ready."""
    settings = Settings(directory="/data", invite="CODE", merge=True, dry_run=True)
    assert run_foreground(settings, JsonFace(), plans) == 0
    assert json.loads(capsys.readouterr().out) == PLAN


def test_json_prints_nothing_before_ready(capsys: pytest.CaptureFixture[str]) -> None:
    """The first line on stdout is the ready event, also where there was a plan."""
    assert run_foreground(Settings(directory="/data", invite="CODE", merge=True), JsonFace(), plans) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [READY]


def test_an_empty_folder_is_joined_without_a_question() -> None:
    """Nothing here means nothing to mix."""
    gate = Gate(Settings(directory="/data", invite="CODE"), asyncio.Event(), as_json=False)
    assert asyncio.run(gate({"identical": 0, "download": 7, "only_here": 0, "differ": 0, "delete": 0}))
    assert gate.refusal is None


def test_the_engines_fault_passes_through() -> None:
    """What the engine found wrong is what the person is told."""

    async def fails(*_: object) -> None:
        raise Fault("port_in_use", "taken")

    with pytest.raises(Fault, match="taken"):
        run_foreground(Settings(directory="/data"), QuietFace(), fails)


def test_the_face_fits_the_terminal() -> None:
    """Programs get JSON, pipes get lines, and quiet is quiet."""
    settings = Settings(directory="/data")
    assert isinstance(choose_face(settings, as_json=True, progress="tty", detached=False), JsonFace)
    assert isinstance(choose_face(settings, as_json=False, progress="auto", detached=False), PlainFace)
    assert isinstance(choose_face(settings, as_json=False, progress="quiet", detached=False), QuietFace)


def test_the_ready_lines_say_where_and_what_next() -> None:
    """A person reads name, folder, address, dashboard and the next command."""
    text = "\n".join(ready_lines(READY | {"web": "http://127.0.0.1:7448/"}))
    for part in ('"ada"', "/data", "127.0.0.1:7447", "http://127.0.0.1:7448/", "meerkat invite /data"):
        assert part in text


def test_join_makes_its_folder_and_takes_it_away_when_it_failed(tmp_path: Path) -> None:
    """A newcomer's missing folder is made; a failed join leaves no empty one; one with content stays."""
    folder = tmp_path / "new"
    settings = Settings(directory=str(folder), invite="CODE")
    with _folder_for_join(settings):
        assert folder.is_dir()
    assert not folder.exists()
    with _folder_for_join(settings):
        (folder / "file").write_text("kept")
    assert (folder / "file").exists()


def test_up_never_makes_its_folder(tmp_path: Path) -> None:
    """A disk that is not mounted must not become a new pool."""
    folder = tmp_path / "unmounted"
    with _folder_for_join(Settings(directory=str(folder))):
        assert not folder.exists()
    with _folder_for_join(Settings(directory=str(tmp_path / "no" / "parent"), invite="CODE")):
        assert not (tmp_path / "no").exists()


def test_a_node_may_open_as_many_files_as_the_system_lets_it() -> None:
    """Many shells start programs with 1024, which a thousand strangers at the port would use up."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[1]), limits[1]))
        raise_open_files()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == min(OPEN_FILES_WANTED, hard)
        assert hard == limits[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
