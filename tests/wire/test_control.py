"""The control socket between a node and this machine's doors."""

import asyncio
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meerkat.wire.control import (
    AlreadyRunning,
    ControlClient,
    ControlFault,
    ControlServer,
    Json,
    NotRunning,
    Result,
    UnsafeSocket,
    find_socket,
    socket_path,
)

TIMEOUT_S = 20.0


class Node:
    """What a node's control service does, as far as the socket is concerned."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def handle(self, verb: str, args: Json) -> AsyncIterator[Json | Result]:
        match verb:
            case "echo":
                yield {"progress": 1}
                yield {"progress": 2}
                yield Result(args)
            case "refuse":
                raise ControlFault("held", "17 files are held", "a scan", "meerkat holds", 7)
            case "bug":
                raise ZeroDivisionError("oops")
            case "big":
                yield Result({"paths": ["x" * 1000] * 10_000})
            case "events":
                try:
                    for number in range(10**9):
                        yield {"seq": number}
                        await asyncio.sleep(0)
                finally:
                    self.left.set()
            case _:
                return


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "run" / "a.sock"


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short enough for sockets below it (107 bytes), whoever runs the tests."""
    folder = tempfile.mkdtemp(prefix="mk-")
    yield Path(folder)
    shutil.rmtree(folder)


@asynccontextmanager
async def running(place: Path) -> AsyncIterator[Node]:
    node = Node()
    server = ControlServer(place, node.handle)
    await server.start()
    try:
        yield node
    finally:
        await server.stop()


def ask(place: Path, verb: str, args: Json | None = None) -> tuple[Json, list[Json]]:
    """One call against a node that runs for it: the answer, and what was told meanwhile."""
    told: list[Json] = []

    def call() -> Json:
        with ControlClient(place) as client:
            return client.call(verb, args, told.append, TIMEOUT_S)

    async def run() -> Json:
        async with running(place):
            return await asyncio.to_thread(call)

    return asyncio.run(run()), told


def test_a_call_brings_progress_and_an_answer(place: Path) -> None:
    """JSON goes there and comes back, names in any script included."""
    args = {"paths": ["é", "日本"], "n": 1.5, "none": None}
    assert ask(place, "echo", args) == (args, [{"progress": 1}, {"progress": 2}])


def test_an_answer_may_be_larger_than_a_message_between_nodes(place: Path) -> None:
    """A listing of a large folder fits."""
    answer, _ = ask(place, "big")
    assert len(answer["paths"]) == 10_000


def test_a_refusal_keeps_all_its_fields(place: Path) -> None:
    """Code, message, cause, hint and exit code reach the door."""
    with pytest.raises(ControlFault) as refused:
        ask(place, "refuse")
    fault = refused.value
    assert (fault.code, fault.message, fault.cause) == ("held", "17 files are held", "a scan")
    assert (fault.hint, fault.exit_code) == ("meerkat holds", 7)


def test_a_bug_in_a_verb_is_an_answer_too(place: Path) -> None:
    """The door hears of it, and the node goes on to serve."""

    def call(verb: str) -> Json:
        with ControlClient(place) as client:
            return client.call(verb, {}, timeout_s=TIMEOUT_S)

    async def run() -> None:
        async with running(place):
            with pytest.raises(ControlFault) as refused:
                await asyncio.to_thread(call, "bug")
            assert refused.value.code == "internal"
            assert "oops" in refused.value.message
            assert await asyncio.to_thread(call, "echo") == {}

    asyncio.run(run())


def test_who_stops_listening_ends_the_verb(place: Path) -> None:
    """When a door goes away (Ctrl-C), what the node did for it ends."""

    def listen() -> list[Json]:
        with ControlClient(place) as client:
            events = client.stream("events")
            return [next(events) for _ in range(3)]

    async def run() -> None:
        async with running(place) as node:
            assert await asyncio.to_thread(listen) == [{"seq": 0}, {"seq": 1}, {"seq": 2}]
            async with asyncio.timeout(TIMEOUT_S):
                await node.left.wait()

    asyncio.run(run())


def test_no_node_is_told_as_such(place: Path, tmp_path: Path) -> None:
    """No socket, no folder for it, or a socket that a dead node left: no node is running."""
    with pytest.raises(NotRunning):
        ControlClient(place).call("status")
    place.parent.mkdir(mode=0o700)
    with pytest.raises(NotRunning):
        ControlClient(place).call("status")
    leave_stale(place)
    with pytest.raises(NotRunning):
        ControlClient(place).call("status")


def leave_stale(place: Path) -> None:
    """What `kill -9` leaves: a socket file that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))


def test_a_stale_socket_is_replaced(place: Path) -> None:
    """After `kill -9` the next start takes the place of the dead node."""
    place.parent.mkdir(mode=0o700)
    leave_stale(place)
    assert ask(place, "echo") == ({}, [{"progress": 1}, {"progress": 2}])
    assert not place.exists()


def test_a_socket_that_answers_is_never_replaced(place: Path) -> None:
    """A second node of the folder hears of the first, which serves on."""

    async def run() -> None:
        async with running(place):
            with pytest.raises(AlreadyRunning):
                await ControlServer(place, Node().handle).start()
            client = ControlClient(place)
            assert await asyncio.to_thread(client.call, "echo", {"a": 1}, None, TIMEOUT_S) == {"a": 1}
            client.close()

    asyncio.run(run())


def test_the_socket_is_for_this_user_alone(place: Path) -> None:
    """Its folder is 0700 and its file 0600; a folder that others may enter is used by neither side."""

    async def run() -> None:
        async with running(place):
            assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
            assert stat.S_IMODE(place.stat().st_mode) == 0o600
            place.parent.chmod(0o755)
            with pytest.raises(UnsafeSocket):
                ControlClient(place).call("echo")
        with pytest.raises(UnsafeSocket):
            await ControlServer(place, Node().handle).start()

    asyncio.run(run())


def test_a_link_in_place_of_the_folder_is_refused(place: Path, tmp_path: Path) -> None:
    """Somebody else could have put a symbolic link where the folder belongs."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeSocket):
        asyncio.run(ControlServer(place, Node().handle).start())


def test_one_folder_one_socket(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One folder has one socket, by whatever name it is reached, also for a shell with another environment."""
    runtime, temporary, folder = short / "r", short / "t", short / "shared"
    for place in (runtime, temporary, folder):
        place.mkdir(mode=0o700)
    (short / "alias").symlink_to(folder)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    path = socket_path(folder)
    assert path.parent == runtime / "meerkat"
    assert path == socket_path(short / "alias") == find_socket(folder)
    assert path != socket_path(short / "other")
    # A node that was started without XDG_RUNTIME_DIR is found by a shell that has it.
    elsewhere = temporary / f"meerkat-{os.getuid()}" / path.name
    elsewhere.parent.mkdir(mode=0o700)
    leave_stale(elsewhere)
    assert find_socket(folder) == elsewhere


def test_a_long_runtime_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel bounds a socket's path, so a place that is too deep is not used."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    assert len(str(socket_path(tmp_path))) <= 107
