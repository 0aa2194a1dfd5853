"""A node's look at itself: each check tells the good case and the bad one apart."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from node_pool import pool

from meerkat.core.diagnose import Diagnosis
from meerkat.model.limits import DOCTOR_CLOCK_OFF_S, DOCTOR_FREE_BYTES_LEAST, DOCTOR_FREE_BYTES_MIN
from meerkat.model.path import MARKER
from meerkat.node.checkup import (
    addresses_found,
    clock_found,
    folder_found,
    inbound_found,
    key_found,
    look_at,
    own_address,
    space_found,
    watch_found,
)

CHECKS = {"node", "folder", "disk", "stage", "key", "index", "watch", "port", "addresses"}


def test_a_sound_node_has_nothing_to_complain_of(tmp_path: Path) -> None:
    """Every check is made, and none fails; the port is tried as others would."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            found = {each.check: each.found for each in await look_at(ada.node)}
            assert found.keys() == CHECKS
            assert {name for name, each in found.items() if each.state == "fail"} == set()
            assert found["port"].text.startswith(f"{ada.address} answers")
            assert found["addresses"].state == "warn", "others cannot dial this machine's loopback"

    asyncio.run(play())


def test_a_folder_that_was_moved_away_is_noticed(tmp_path: Path) -> None:
    """What is at its place now is not what the node has opened."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            (ada.folder / MARKER).rename(ada.folder / "elsewhere")
            found = {each.check: each.found for each in await look_at(ada.node)}
            (ada.folder / "elsewhere").rename(ada.folder / MARKER)
            assert found["folder"].state == "fail"
            assert "mount" in found["folder"].fix

    asyncio.run(play())


def test_a_port_that_another_program_answers_is_noticed(tmp_path: Path) -> None:
    """The node believes to listen there; whoever dials meets somebody else."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            with socket.socket() as silent:
                silent.bind(("127.0.0.1", 0))
                ada.node.listen = f"127.0.0.1:{silent.getsockname()[1]}"
                found = {each.check: each.found for each in await look_at(ada.node)}
            assert found["port"].state == "fail"
            assert "nothing listens there" in found["port"].text

    asyncio.run(play())


@pytest.mark.parametrize(
    ("free", "state"),
    [(DOCTOR_FREE_BYTES_MIN, "ok"), (DOCTOR_FREE_BYTES_MIN - 1, "warn"), (DOCTOR_FREE_BYTES_LEAST - 1, "fail")],
)
def test_room_on_the_disk(free: int, state: str) -> None:
    """Little is worth a word, nothing is a failure."""
    assert space_found(free).state == state


def test_a_key_that_others_may_read_is_a_failure(tmp_path: Path) -> None:
    """Whoever has it is this node, for all members."""
    (tmp_path / "node.key").touch(0o600)
    assert key_found(tmp_path).state == "ok"
    os.chmod(tmp_path / "node.key", 0o640)
    found = key_found(tmp_path)
    assert (found.state, "node.key" in found.text) == ("fail", True)
    assert key_found(tmp_path / "none").state == "fail"


@pytest.mark.parametrize(
    ("degraded", "folders", "limit", "state", "step"),
    [
        ("", 10, 0, "ok", False),
        ("", 10, 1000, "ok", False),
        ("", 900, 1000, "warn", True),
        ("the limit of 1000 watched folders is reached", 2000, 1000, "warn", True),
        ("watching failed", 10, 1000, "warn", False),
    ],
)
def test_the_watch_and_its_limit(degraded: str, folders: int, limit: int, state: str, step: bool) -> None:
    """A watch that sees not everything, or will not for long; how to raise the limit where that is the cause."""
    found = watch_found(degraded, folders, limit)
    assert (found.state, "max_user_watches" in found.fix) == (state, step)


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ([], "warn"),
        (["127.0.0.1:7", "[::1]:7", "localhost:7"], "warn"),
        (["127.0.0.1:7", "192.0.2.1:7"], "ok"),
        (["nas.example:7"], "ok"),
        (["[fe80::1%eth0]:7"], "ok"),
    ],
)
def test_addresses_that_mean_nothing_elsewhere(told: list[str], state: str) -> None:
    """Loopback alone can be dialled by nobody on another machine."""
    assert addresses_found(told).state == state


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (clock_found({}), "ok", "no member"),
        (clock_found({"bob": 0.2, "cy": -1.0}), "ok", "2 members"),
        (clock_found({"bob": 0.2, "cy": -2 * DOCTOR_CLOCK_OFF_S}), "warn", "cy is 60 s behind"),
        (clock_found({"bob": 3 * DOCTOR_CLOCK_OFF_S}), "warn", "bob is 90 s ahead"),
        (inbound_found(["bob"], ["cy"], "7"), "ok", "bob can dial"),
        (inbound_found([], ["cy"], "7"), "warn", "cy cannot dial"),
        (inbound_found([], ["bob", "cy"], "7"), "warn", "none of bob, cy can dial"),
        (inbound_found([], [], "7"), "ok", "no member"),
        (folder_found(True), "ok", "there"),
    ],
)
def test_what_members_say_is_weighed(found: Diagnosis, state: str, said: str) -> None:
    """Clocks that are far apart, and a node that nobody can dial."""
    assert (found.state, said in found.text) == (state, True)
    assert bool(found.fix) == (state != "ok")


@pytest.mark.parametrize(
    ("listen", "own"),
    [("0.0.0.0:7", "127.0.0.1:7"), ("[::]:7", "[::1]:7"), ("192.0.2.1:7", "192.0.2.1:7"), ("nas:7", "nas:7")],
)
def test_where_a_machine_reaches_itself(listen: str, own: str) -> None:
    """What listens everywhere is there on the loopback."""
    assert own_address(listen) == own
