"""Starting a node that outlives the command: its fate is known before the command returns."""

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from meerkat.cli.background import start_background, start_command
from meerkat.cli.main import run
from meerkat.cli.start import _settings
from meerkat.model.config import Settings
from meerkat.model.fault import Fault

SETTINGS = Settings(directory="/data")


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_ready_line_is_returned_and_the_node_lives_on() -> None:
    """The command returns at the first line, with the node running in a session of its own."""
    ready = start_background(
        SETTINGS,
        script(
            "import os, json, time\n"
            "print(json.dumps({'event': 'ready', 'pid': os.getpid(), 'sid': os.getsid(0)}), flush=True)\n"
            "time.sleep(60)"
        ),
    )
    try:
        assert alive(ready["pid"])
        assert ready["sid"] == ready["pid"]
    finally:
        os.kill(ready["pid"], signal.SIGKILL)


def test_a_node_that_fails_tells_its_own_words_and_exit_code() -> None:
    """The error object of the node in the background is the command's own error."""
    error = '{"error": {"code": "port_in_use", "message": "taken", "cause": "nginx", "hint": "pick another"}}'
    with pytest.raises(Fault) as caught:
        start_background(
            SETTINGS, script(f"import sys; print('noise', {error!r}, sep='\\n', file=sys.stderr); exit(8)")
        )
    fault = caught.value
    assert (fault.code, fault.message, fault.cause, fault.hint) == ("port_in_use", "taken", "nginx", "pick another")
    assert fault.exit_code == 8


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("exit(3)", "it ended with 3 and said nothing"),
        ("import sys; sys.exit('no module named grpc')", "no module named grpc"),
        ("print('hello')", "it ended with 0 and said nothing"),
    ],
)
def test_a_node_that_ends_without_an_error_object_is_still_an_error(text: str, cause: str) -> None:
    """Whatever goes wrong before the node is up is told, with the last words it said."""
    with pytest.raises(Fault) as caught:
        start_background(SETTINGS, script(text))
    assert (caught.value.code, caught.value.cause) == ("start_failed", cause)
    assert caught.value.exit_code != 0


def test_a_node_that_never_comes_up_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After the time is over the command fails and leaves no process behind."""
    monkeypatch.setattr("meerkat.cli.background.START_TIMEOUT_S", 0.5)
    pid_file = tmp_path / "pid"
    with pytest.raises(Fault, match="did not come up"):
        start_background(
            SETTINGS, script(f"import os,time; open({str(pid_file)!r},'w').write(str(os.getpid())); time.sleep(60)")
        )
    assert not pid_file.exists() or not alive(int(pid_file.read_text()))


def test_the_code_travels_on_standard_input_only() -> None:
    """Command lines can be read by others, so the secret is not on it; the child gets it all the same."""
    settings = Settings(directory="/data", invite="SECRET", merge=True, advertise=("a:1", "b:2"), listen="127.0.0.1:0")
    words = start_command(settings)
    assert "SECRET" not in words
    assert words[3:6] == ["join", "-", "/data"]
    assert words.count("--advertise") == 2
    assert {"--merge", "--json", "--detached"} <= set(words)
    ready = start_background(
        settings,
        script("import json, sys; print(json.dumps({'event': 'ready', 'code': sys.stdin.readline().strip()}))"),
    )
    assert ready["code"] == "SECRET"


def test_what_the_child_parses_is_what_the_parent_was_told() -> None:
    """The settings survive the way over the child's command line, whole."""
    import click

    from meerkat.cli.start import join

    settings = Settings(
        directory="/data",
        listen="127.0.0.1:0",
        advertise=("a:1", "b:2"),
        name="nas",
        invite="CODE",
        via="c:3",
        merge=True,
        web="off",
        discovery=True,
        log_level="debug",
        rescan_interval_s=90.5,
    )
    with click.Context(join) as context:
        join.parse_args(context, start_command(settings)[4:])
        flags = dict(context.params)
    assert flags.pop("words") == ("-", "/data")
    more = {key: flags.pop(key) for key in ("via", "merge", "dry_run")}
    assert _settings("/data", flags, invite="CODE", **more) == settings


def test_an_interrupted_start_leaves_no_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ctrl-C while waiting stops what was started."""
    pid_file = tmp_path / "pid"

    def interrupt(child: object) -> tuple[bytes, bytes]:
        deadline = time.monotonic() + 20
        while not pid_file.exists() or not pid_file.read_text():
            assert time.monotonic() < deadline
        raise KeyboardInterrupt

    monkeypatch.setattr("meerkat.cli.background._listen", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_background(
            SETTINGS, script(f"import os,time; open({str(pid_file)!r},'w').write(str(os.getpid())); time.sleep(60)")
        )
    assert not alive(int(pid_file.read_text()))


@pytest.mark.e2e
def test_a_real_node_runs_in_the_background_until_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`up -d` returns when the node answers, `down` when it is gone, and the port is the same the next time."""
    folder = tmp_path / "shared"
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="mk") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        first = up(folder, capsys)
        try:
            assert run(["status", str(folder), "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["node"] == first["node"]
            assert run(["up", "-d", str(folder)]) == 1
            assert "already runs" in capsys.readouterr().err
        finally:
            assert run(["down", str(folder)]) == 0
        assert not alive(first["pid"])
        assert run(["status", str(folder)]) == 3
        capsys.readouterr()
        second = up(folder, capsys)
        assert run(["down", str(folder)]) == 0
    assert {key: second[key] for key in ("node", "pool", "listen")} == {
        key: first[key] for key in ("node", "pool", "listen")
    }


def up(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["up", "-d", str(folder), "--listen", "127.0.0.1:0", "--json"]) == 0
    ready: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert ready["event"] == "ready"
    return ready
