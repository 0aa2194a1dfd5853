"""Becoming a member: from a code to a roster on this disk, through any member that answers.

Steps, each durable before the next: identity, admission (the same operation however often it is asked for), roster,
and last `node.toml`, which makes the folder a node. A crash between any two leaves a folder that joins again as the
same node, or one that is a node.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

from meerkat.core.membership import InviteState
from meerkat.core.resolve import view
from meerkat.disk.root import Root
from meerkat.disk.scan import Unseen, look, walk
from meerkat.model.config import Settings
from meerkat.model.fault import Exit, Fault
from meerkat.model.frame import JoinAnswer, JoinAsk, PeerFault
from meerkat.model.limits import JOIN_PLANS_AT_ONCE, JOIN_TIMEOUT_S, PLAN_ENTRIES_MAX
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked, Problem
from meerkat.model.version import Content, Entry, Kind
from meerkat.node.books import Books
from meerkat.node.home import Home
from meerkat.node.pull import Puller
from meerkat.node.registry import Registry, keep_roster
from meerkat.node.rules import Rules
from meerkat.wire.client import DialFailed
from meerkat.wire.identity import Identity
from meerkat.wire.invite import InviteCode, InviteFault, decode_invite
from meerkat.wire.joining import JoinedPool, JoinRefused, join, probe

log = logging.getLogger("meerkat.join")

_FINAL = frozenset(("invite_used", "invite_expired", "invite_revoked", "removed"))

Plan = dict[str, object]
OnPlan = Callable[[Plan], Awaitable[bool]]


def parse_code(code: str) -> InviteCode:
    """The invite in a code.

    Raises:
        Fault: invite_garbage.
    """
    try:
        return decode_invite(code)
    except InviteFault as fault:
        raise Fault(
            "invite_garbage",
            f"this is not a whole invite code: {fault}",
            hint="paste the command again, exactly as meerkat invite printed it",
            exit_code=Exit.NOT_ALLOWED,
        ) from None


async def join_pool(
    home: Home,
    identity: Identity,
    invite: InviteCode,
    settings: Settings,
    name: str,
    addresses: list[str],
    on_plan: OnPlan | None,
) -> bool:
    """Join; False when the person did not want to go on.

    Raises:
        Fault: invite_used, invite_expired, invite_revoked, wrong_pool (5), unreachable (6), needs_merge (8).
    """
    places = [settings.via] if settings.via is not None else list(invite.addresses)
    here = await asyncio.to_thread(_contents_of, home.folder)
    if here or settings.dry_run:
        plan = await _plan(places, invite, identity, here)
        if on_plan is not None:
            if not await on_plan(plan):
                return False
        elif here and not settings.merge:
            raise Fault(
                "needs_merge",
                f"{home.folder} holds {len(here)} things; joining would mix them with the pool's",
                hint="look with --dry-run, then add --merge",
                exit_code=Exit.REFUSED,
            )
        if settings.dry_run:
            return False
    maybe_admitted = False

    async def ask(place: str) -> JoinedPool:
        nonlocal maybe_admitted
        try:
            return await join(place, invite, identity, name, addresses, JOIN_TIMEOUT_S)
        except (DialFailed, JoinRefused) as error:
            maybe_admitted = maybe_admitted or error.code in ("broken", "bad_roster")
            raise

    home.asked_to_join = True
    try:
        joined = await _through_any(places, ask)
    except Fault:
        home.asked_to_join = maybe_admitted
        raise
    assert isinstance(joined, JoinedPool)
    await keep_roster(home.roster, joined.ops, joined.records)
    return True


async def _through_any(places: list[str], ask: Callable[[str], Awaitable[object]]) -> object:
    """Ask at each place until one answers. That the pool refuses the invite is final; silence is not, nor what somebody
    says who is not the pool, or is not able to answer now: an address in a code may be another's by now."""
    silent: list[DialFailed] = []
    refused: Fault | None = None
    for place in places:
        try:
            return await ask(place)
        except DialFailed as error:
            silent.append(error)
        except JoinRefused as error:
            fault = _refusal(error)
            if error.code in _FINAL:
                raise fault from None
            refused = refused or fault
    if refused is not None:
        raise refused
    if not places:
        raise Fault(
            "unreachable",
            "the invite holds no address",
            hint="add --via HOST:PORT of any member",
            exit_code=Exit.UNREACHABLE,
        )
    cause = ", ".join(f"{error.address} {error.cause}" for error in silent)
    if any(error.code in ("timed_out", "broken") for error in silent):
        raise Fault(
            "broke_off",
            "the member that was asked did not answer to the end",
            cause=cause,
            hint="try again, with the same code; it goes on where it stopped",
            exit_code=Exit.UNREACHABLE,
        )
    count = f"none of the {len(places)} addresses in the invite" if len(places) > 1 else f"nobody at {places[0]}"
    raise Fault(
        "unreachable",
        f"{count} answered",
        cause=cause,
        hint="is a member running there? Any other one will do, too: --via HOST:PORT",
        exit_code=Exit.UNREACHABLE,
    )


def _refusal(error: JoinRefused) -> Fault:
    hint = "make a new one on any member: meerkat invite"
    if error.code == "not_proven":
        hint = "check the address; if it is right, somebody is between you and the pool"
    if error.code == "removed":
        hint = "move .meerkat away: then this folder joins as a new node; the files stay"
    if error.code in ("not_ready", "busy"):
        hint = "try again in a moment, or through another member: --via HOST:PORT"
    exit_code = Exit.UNREACHABLE if error.code == "busy" else Exit.NOT_ALLOWED
    return Fault(error.code, str(error), hint=hint, exit_code=exit_code)


# ---- the other side


class Sponsor:
    """Answers newcomers: what joining would do, and the roster with them in it."""

    def __init__(self, registry: Registry, books: Books, puller: Puller) -> None:
        self._registry = registry
        self._books = books
        self._puller = puller
        self._plans = asyncio.Semaphore(JOIN_PLANS_AT_ONCE)

    async def admit(self, ask: JoinAsk, invite: InviteState) -> AsyncGenerator[JoinAnswer, None]:
        """Answer one call of a newcomer that showed an invite's certificate and that its own is its own."""
        if self._books.recovering and ask.admission is None and ask.plan:
            yield JoinAnswer(refused="not_ready", reason="this node is still learning what the pool holds")
            return
        totals = self._books.totals
        async for answer in self._registry.admit(ask, invite, totals.files, totals.bytes):
            yield answer
            if answer.refused:
                return  # and nothing of what the pool holds
        if ask.plan and ask.admission is None:
            async with self._plans, aclosing(self._puller.everything()) as parts:
                async for part in parts:
                    yield JoinAnswer(entries=part)


# ---- the plan


def _contents_of(folder: Path) -> dict[RelPath, Content]:
    root = Root(folder)
    try:
        return contents_here(root)
    finally:
        root.close()


def contents_here(root: Root) -> dict[RelPath, Content]:
    """What a folder that is about to join holds already (its files are read)."""
    found: dict[RelPath, Content] = {}
    rules = Rules(root, root.metadata_dir / "ignore")
    rules.read()
    for each in walk(root, RelPath(""), rules.skip):
        if isinstance(each, Problem | Unseen):
            continue
        path, stat = each
        if stat.kind is Kind.FOLDER:
            continue
        try:
            base = look(root, path, None).base
        except PathBlocked:
            continue
        if base is not None:
            found[path] = base.content
    return found


async def _plan(places: list[str], invite: InviteCode, identity: Identity, here: dict[RelPath, Content]) -> Plan:
    entries: list[Entry] = []

    def take(part: tuple[Entry, ...]) -> None:
        if len(entries) + len(part) > PLAN_ENTRIES_MAX:
            raise PeerFault(f"it says that the pool has more than {PLAN_ENTRIES_MAX:,} paths")
        entries.extend(part)

    def ask(place: str) -> Awaitable[object]:
        entries.clear()  # of a place that broke off
        return probe(place, invite, identity, JOIN_TIMEOUT_S, take)

    await _through_any(places, ask)
    return make_plan(here, entries)


def make_plan(here: dict[RelPath, Content], entries: list[Entry]) -> Plan:
    """What joining would do, in the contract's words. `delete` is always 0: joining never deletes."""
    pool = {}
    for entry in entries:
        winner = view(entry.siblings, living_below=False).winner
        if winner is not None and winner.content.kind is not Kind.FOLDER:
            pool[entry.path] = winner
    identical = sum(1 for path, content in here.items() if path in pool and pool[path].content == content)
    differ = sum(1 for path, content in here.items() if path in pool and pool[path].content != content)
    coming = [item for path, item in pool.items() if path not in here]
    return {
        "identical": identical,
        "download": len(coming),
        "download_bytes": sum(item.version.size for item in coming),
        "only_here": len(here.keys() - pool.keys()),
        "differ": differ,
        "delete": 0,
    }
