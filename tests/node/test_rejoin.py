"""A newcomer keeps its invite until it is known, and shows it to whoever refuses it.

That it helps when sponsors die is in `test_accidents`.
"""

import asyncio
import stat
from pathlib import Path

from node_pool import pool
from node_rooms import until

from meerkat.node.home import open_home
from meerkat.node.rejoin import _kept, keep_invite
from meerkat.wire.invite import InviteCode, InviteSecret


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """The code and the name, for this user's eyes alone; rubbish is as good as nothing."""
    invite = InviteCode("p" * 32, InviteSecret.new(), ("192.0.2.1:1",))  # type: ignore[arg-type]
    with open_home(tmp_path) as home:
        place = home.identity / "invite"
        assert _kept(place) is None
        keep_invite(home, invite, "bob")
        assert _kept(place) == (invite, "bob")
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        place.write_text("rubbish")
        assert _kept(place) is None


def test_the_invite_is_dropped_once_the_node_is_known(tmp_path: Path) -> None:
    """With a link to two members, or to all where there are fewer, nobody needs to be shown it any more."""

    async def play() -> None:
        async with pool(tmp_path) as nodes:
            ada = await nodes.found("ada")
            bob = await nodes.join("bob", ada)
            cy = await nodes.join("cy", bob)
            await nodes.linked()
            for each in (bob, cy):
                place = each.folder / ".meerkat" / "identity" / "invite"
                await until("it is gone", lambda place=place: not place.exists())  # type: ignore[misc]

    asyncio.run(play())
