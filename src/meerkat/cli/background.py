"""Starting a node that outlives this command.

The node is an ordinary `meerkat up … --json` in a session of its own. Its first line on stdout says that it is up;
its last object on stderr says why it is not. Either way the caller learns the truth before this returns.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import Any

from meerkat.cli.show import homely
from meerkat.model.config import Settings
from meerkat.model.fault import Exit, Fault

START_TIMEOUT_S = 120.0
"""Joining may try several addresses for 30 s each; a node that takes longer than this is stuck."""
STOP_TIMEOUT_S = 10.0
OUTPUT_BYTES_MAX = 1 << 20
READ_BYTES = 1 << 16


def start_background(settings: Settings, command: list[str] | None = None) -> dict[str, Any]:
    """Start the node and return its `ready` event.

    Args:
        command: what to run instead of this program's own `up` or `join`.

    Raises:
        Fault: what the node said before it ended, or `start_timeout` (6).
    """
    child = subprocess.Popen(
        command or start_command(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _give_code(child, settings.invite)
        said, complained = _listen(child)
        ready = _object(said)
        if ready is not None and ready.get("event") == "ready":
            return ready
        raise _failure(child, settings, complained)
    except BaseException:
        _end(child)
        raise
    finally:
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                stream.close()


def start_command(settings: Settings) -> list[str]:
    """The command line of the node in the background. The invite's code is not on it: other users can read those."""
    words = ["join", "-", settings.directory] if settings.invite else ["up", settings.directory]
    options = {
        "--name": settings.name,
        "--listen": settings.listen,
        "--via": settings.via,
        "--web": settings.web,
        "--discovery": None if settings.discovery is None else ("on" if settings.discovery else "off"),
        "--log-level": settings.log_level,
        "--hold": None if settings.hold is None else ("on" if settings.hold else "off"),
        "--rescan-interval": str(settings.rescan_interval_s),
    }
    for flag, value in options.items():
        if value is not None:
            words += [flag, value]
    for address in settings.advertise:
        words += ["--advertise", address]
    if settings.merge:
        words.append("--merge")
    return [sys.executable, "-m", "meerkat", *words, "--json", "--detached"]


def _give_code(child: subprocess.Popen[bytes], code: str | None) -> None:
    if child.stdin is None:
        return
    try:
        if code:
            child.stdin.write(code.encode() + b"\n")
        child.stdin.close()
    except BrokenPipeError:
        pass  # it ended before reading; its complaint follows


def _listen(child: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What the child wrote until its first line or its end: `(stdout, stderr)`."""
    said, complained = bytearray(), bytearray()
    deadline = time.monotonic() + START_TIMEOUT_S
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout or 0, selectors.EVENT_READ, said)
        selector.register(child.stderr or 0, selectors.EVENT_READ, complained)
        while selector.get_map() and b"\n" not in said:
            left = deadline - time.monotonic()
            if left <= 0 or len(said) + len(complained) > OUTPUT_BYTES_MAX:
                raise Fault(
                    "start_timeout", "the node did not come up in time and was stopped", exit_code=Exit.UNREACHABLE
                )
            for key, _ in selector.select(left):
                data = os.read(key.fd, READ_BYTES)
                key.data.extend(data)
                if not data:
                    selector.unregister(key.fileobj)
    return bytes(said), bytes(complained)


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text.splitlines()[0])
    except (ValueError, IndexError):
        return None
    return value if isinstance(value, dict) else None


def _failure(child: subprocess.Popen[bytes], settings: Settings, complained: bytes) -> Fault:
    try:
        code = child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        code = Exit.ERROR
    for line in reversed(complained.splitlines()):
        error = (_object(line) or {}).get("error")
        if isinstance(error, dict):
            return Fault(
                str(error.get("code", "error")),
                str(error.get("message", "")),
                cause=str(error.get("cause", "")),
                hint=str(error.get("hint", "")),
                exit_code=code if code > 0 else Exit.ERROR,
            )
    last = complained.decode("utf-8", "replace").strip().splitlines()
    return Fault(
        "start_failed",
        f"the node of {homely(settings.directory)} ended before it was up",
        cause=last[-1] if last else f"it ended with {code} and said nothing",
        hint="run the same without -d to see more",
        exit_code=code if code > 0 else Exit.ERROR,
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop a node that did not come up; it must not linger unseen."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
