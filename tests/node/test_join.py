"""Becoming a member: through anyone who answers, once however often it is asked, and never at the cost of a file."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from node_pool import NodePool, Running, pool
from node_rooms import author_of, file_version, folder_version, path, tombstone, until

from meerkat.model.dot import Dot
from meerkat.model.fault import Exit, Fault
from meerkat.model.frame import JoinAnswer, JoinAsk, LinkLost
from meerkat.model.path import MARKER
from meerkat.model.version import Content, Entry, Version
from meerkat.node import join as join_room
from meerkat.node.join import Sponsor, make_plan, parse_code
from meerkat.wire import joining
from meerkat.wire.client import DialFailed
from meerkat.wire.identity import Identity, fingerprint_of
from meerkat.wire.invite import decode_invite, encode_invite


def entry(name: str, *versions: Version) -> Entry:
    return Entry(path(name), {Dot(author_of("zoe"), number): each for number, each in enumerate(versions, 1)})


def content(data: bytes) -> Content:
    return file_version(data).content


@pytest.mark.parametrize(
    ("here", "pool_has", "plan"),
    [
        ({}, [], {}),
        ({}, [entry("a", file_version(b"123")), entry("f", folder_version())], {"download": 1, "download_bytes": 3}),
        ({path("a"): content(b"1")}, [entry("a", file_version(b"1"))], {"identical": 1}),
        ({path("a"): content(b"2")}, [entry("a", file_version(b"1"))], {"differ": 1}),
        (
            {path("b"): content(b"2")},
            [entry("a", file_version(b"1"))],
            {"only_here": 1, "download": 1, "download_bytes": 1},
        ),
        ({path("a"): content(b"1")}, [entry("a", tombstone())], {"only_here": 1}),
        ({path("a"): content(b"1")}, [entry("a", file_version(b"1"), file_version(b"9", height=2))], {"differ": 1}),
    ],
    ids=["nothing", "empty here", "the same", "another", "elsewhere", "deleted there", "the winner counts"],
)
def test_the_plan_counts_what_would_happen(
    here: dict[Any, Content], pool_has: list[Entry], plan: dict[str, int]
) -> None:
    """Identical, to be downloaded, only here, differing; nothing is ever deleted by joining."""
    nothing = dict.fromkeys(("identical", "download", "download_bytes", "only_here", "differ", "delete"), 0)
    assert make_plan(here, pool_has) == nothing | plan


def test_a_code_that_is_no_code_is_refused() -> None:
    """Cut off by a mail program, or something else altogether: with what to do about it."""
    for code in ("", "hello", "mk1" * 40):
        with pytest.raises(Fault) as fault:
            parse_code(code)
        assert (fault.value.code, fault.value.exit_code) == ("invite_garbage", Exit.NOT_ALLOWED)


def elsewhere(code: str, *addresses: str) -> str:
    """The same invite with other addresses in it."""
    invite = decode_invite(code)
    return encode_invite(invite.pool, invite.secret, list(addresses))


def closed_port() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        return f"127.0.0.1:{place.getsockname()[1]}"


async def refused(nodes: NodePool, running: Running, **settings: Any) -> Fault:
    """The fault that starting ends with."""
    with pytest.raises(Fault) as fault:
        await nodes.start(running, **settings)
    return fault.value


def members(running: Running) -> set[str]:
    return {member.name for member in running.node.registry.members().values()}


def test_any_member_will_do(tmp_path: Path) -> None:
    """The first address in the code is dead; the inviter itself may be off: whoever answers lets the newcomer in."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            code = await ada.invite(uses=2)
            await until("bob knows the invite", lambda: len(bob.node.registry.invites()) == 2)
            dead = ada.address
            await nodes.stop(ada)
            cy = nodes.folder("cy")
            await nodes.start(cy, invite=elsewhere(code, dead, bob.address))
            dan = nodes.folder("dan")
            await nodes.start(dan, invite=code, via=bob.address)
            await until(
                "all know all", lambda: all(members(each) == {"ada", "bob", "cy", "dan"} for each in nodes.live)
            )
            await nodes.start(ada)
            await nodes.linked()
            assert members(ada) == {"ada", "bob", "cy", "dan"}

    asyncio.run(play())


def test_joins_in_parallel_all_end_well(tmp_path: Path) -> None:
    """Four at once through two sponsors: everybody is a member, linked with everybody, with everything."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ada.put("f/a.txt", b"a")
            bob = await nodes.join("bob", ada)
            joins = [nodes.join(f"new{number}", (ada, bob)[number % 2]) for number in range(4)]
            await asyncio.gather(*joins)
            await nodes.linked()
            await until("all have it", lambda: all(each.files() == {"f/a.txt": b"a"} for each in nodes.nodes))
            assert len(members(ada)) == 6

    asyncio.run(play())


def test_a_used_invite_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """The folder is as before: no key, no half-made node; another invite makes it one."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            code = await ada.invite()
            bob, cy = nodes.folder("bob"), nodes.folder("cy")
            await nodes.start(bob, invite=code)
            fault = await refused(nodes, cy, invite=code)
            assert (fault.code, fault.exit_code) == ("invite_used", Exit.NOT_ALLOWED)
            assert list(cy.folder.iterdir()) == []
            await nodes.start(cy, invite=await bob.invite())
            await nodes.linked()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("addresses", "code"), [((), "unreachable"), (("closed",), "unreachable"), (("closed", "closed"), "unreachable")]
)
def test_nobody_there_is_told_with_each_cause(tmp_path: Path, addresses: tuple[str, ...], code: str) -> None:
    """No address at all, or none that answers: exit code 6, and the way through another member."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            invite = decode_invite(await ada.invite())
            places = [closed_port() for _ in addresses]
            bob = nodes.folder("bob")
            fault = await refused(nodes, bob, invite=encode_invite(invite.pool, invite.secret, places))
            assert (fault.code, fault.exit_code) == (code, Exit.UNREACHABLE)
            assert "--via" in fault.hint
            assert all(place in fault.cause for place in places)
            assert list(bob.folder.iterdir()) == []

    asyncio.run(play())


def test_an_invite_of_another_pool_is_unknown_there(tmp_path: Path) -> None:
    """A member of a different pool at that address lets nobody in."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada, other = await nodes.found("ada"), await nodes.found("other")
            fault = await refused(nodes, nodes.folder("bob"), invite=await ada.invite(), via=other.address)
            assert (fault.code, fault.exit_code) == ("invite_unknown", Exit.NOT_ALLOWED)

    asyncio.run(play())


def test_a_folder_with_files_is_joined_only_on_purpose(tmp_path: Path) -> None:
    """Without a yes nothing happens; with one, both sides' files are everywhere, and what differs is kept twice."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            for name, data in (("same", b"same"), ("differs", b"ada's"), ("ada only", b"12345")):
                ada.put(name, data)
            await ada.ask("scan")
            bob = nodes.folder("bob")
            for name, data in (("same", b"same"), ("differs", b"bob's"), ("bob only", b"x")):
                bob.put(name, data)
            before = bob.tree()
            code = await ada.invite()
            fault = await refused(nodes, bob, invite=code)
            assert (fault.code, fault.exit_code) == ("needs_merge", Exit.REFUSED)
            plans: list[dict[str, object]] = []

            async def decide(plan: dict[str, object]) -> bool:
                plans.append(plan)
                return len(plans) > 1

            await nodes.start(bob, invite=code, on_plan=decide)
            assert bob.task is not None
            assert bob.task.done(), "a no ends it without a fault"
            assert bob.tree() == before
            assert not (bob.folder / MARKER).exists()
            assert members(ada) == {"ada"}, "declining uses up nothing"
            await nodes.start(bob, invite=code, on_plan=decide)
            expected = {"identical": 1, "download": 1, "download_bytes": 5, "only_here": 1, "differ": 1, "delete": 0}
            assert plans == [expected, expected]
            await until("merged", lambda: all(len(each.files()) == 5 for each in nodes.live))
            await nodes.settled()
            assert sorted(ada.files().values()) == sorted([b"same", b"ada's", b"bob's", b"12345", b"x"])

    asyncio.run(play())


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """Also into an empty folder: the plan is shown, and neither side is any different."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ada.put("a.txt", b"a")
            await ada.ask("scan")
            bob = nodes.folder("bob")
            plans: list[dict[str, object]] = []

            async def look(plan: dict[str, object]) -> bool:
                plans.append(plan)
                return True

            await nodes.start(bob, invite=await ada.invite(), dry_run=True, on_plan=look)
            assert [plan["download"] for plan in plans] == [1]
            assert list(bob.folder.iterdir()) == []
            assert members(ada) == {"ada"}

    asyncio.run(play())


def test_a_refused_bearer_learns_nothing_of_the_pool(tmp_path: Path) -> None:
    """Asked for its index by the bearer of a revoked invite, a member says no and not one name more."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            ada.put("secret plans", b"x")
            await ada.ask("scan")
            invite = decode_invite(await ada.invite())
            (state,) = await ada.ask("invite_list")
            stranger = Identity.create()
            ask = JoinAsk(b"n" * 16, stranger.certificate, plan=True)

            async def answers() -> list[JoinAnswer]:
                known = ada.node.registry.invite_of(fingerprint_of(invite.secret.certificate))
                assert known is not None
                return [
                    each async for each in Sponsor(ada.node.registry, ada.node.books, ada.node.puller).admit(ask, known)
                ]

            assert [each.path for answer in await answers() for each in answer.entries] == ["secret plans"]
            await ada.ask("invite_revoke", id=state["id"])
            (answer,) = await answers()
            assert (answer.refused, answer.entries) == ("invite_revoked", ())

    asyncio.run(play())


def test_a_sponsor_that_dies_half_way_costs_no_second_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The admission went through, its answer did not: asked again with the same code, it is the same node."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            code = await ada.invite()
            bob = nodes.folder("bob")

            async def cut_off(address: str, *args: Any) -> object:
                await joining.join(address, *args)
                raise DialFailed(address, "broken", str(LinkLost("cut")))

            with monkeypatch.context() as patched:
                patched.setattr(join_room, "join", cut_off)
                fault = await refused(nodes, bob, invite=code)
            assert (fault.code, fault.exit_code) == ("broke_off", Exit.UNREACHABLE)
            assert members(ada) == {"ada", "bob"}
            (admitted,) = ada.node.registry.members().keys() - {ada.id}
            await nodes.start(bob, invite=code)
            assert bob.id == admitted
            await nodes.linked()
            assert members(ada) == {"ada", "bob"}

    asyncio.run(play())
