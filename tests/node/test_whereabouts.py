"""A machine that changes its addresses while the node runs."""

import asyncio
from pathlib import Path

import pytest
from node_pool import Running, pool
from node_rooms import until

from meerkat.core.overlay import Overlay
from meerkat.node import whereabouts
from meerkat.node.surroundings import Grpc
from meerkat.node.whereabouts import follow


def test_each_change_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what it was at the start, nor what stays as it is; losing all addresses is a change as well."""
    monkeypatch.setattr(whereabouts, "ADDRESSES_LOOK_S", 0.0)

    async def play() -> None:
        moments = iter([["a:1"], ["a:1"], ["b:1"], ["b:1"], [], ["a:1"]])
        seen: list[list[str]] = []
        now: list[str] = []
        over = asyncio.Event()

        def found() -> list[str]:
            nonlocal now
            now = next(moments, now)
            return now

        async def moved() -> None:
            seen.append(now)
            if now == ["a:1"]:
                over.set()

        work = asyncio.ensure_future(follow(found, moved))
        await over.wait()
        work.cancel()
        assert seen == [["b:1"], [], ["a:1"]]

    asyncio.run(play())


def given_up(one: Running, other: Running) -> bool:
    """The other was dialled in vain, and is not to be dialled again soon."""
    peers = one.node.peers
    wake = peers._overlay._peers[other.id].not_before
    return other.id not in peers._dialling and wake > asyncio.get_running_loop().time() + 1000


def test_members_hear_of_another_address_and_whoever_is_away_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bob's machine gets another lease while his node runs: ada is told over the link that stands, and where cy was in
    vain looked for before, it is looked for at once, although the next try was an hour away."""
    monkeypatch.setattr(whereabouts, "ADDRESSES_LOOK_S", 0.01)
    monkeypatch.setattr(Overlay, "_wait", lambda overlay, failures: 3600.0 if failures else 0.0)

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob, cy = await nodes.join("bob", ada), await nodes.join("cy", ada)
            await nodes.linked()
            for each in (ada, bob):
                await until("cy has told where it is", lambda each=each: each.node.registry.addresses(cy.id))  # type: ignore[misc]
            lease = list(bob.node.addresses())
            # Only bob's machine moves; the others' answers stay as they are.
            real = Grpc.advertised
            monkeypatch.setattr(
                Grpc,
                "advertised",
                lambda self, listening: lease if listening == bob.address else real(self, listening),
            )
            await nodes.stop(cy)
            for each in (ada, bob):
                await until("it is given up for an hour", lambda each=each: given_up(each, cy))  # type: ignore[misc]
            host, _, port = cy.address.rpartition(":")
            dialled = asyncio.Event()

            def notice(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                dialled.set()
                writer.close()

            server = await asyncio.start_server(notice, host, int(port))
            async with server:
                lease.insert(0, "192.0.2.77:7")
                await until("ada is told", lambda: ada.node.registry.told_addresses(bob.id) == tuple(lease))
                await until("cy is looked for", dialled.is_set)

    asyncio.run(play())
