"""Mistakes that look right, each planted into the real code by replacing one function.

They are here so that the traces and the random lives prove that they can fail. Every mistake is one that a simpler
design would have as its rule.
"""

from collections.abc import Callable, Iterable

import pytest
from msgspec.structs import replace
from replicas import Answer, Replica

from meerkat.core import compare as comparing
from meerkat.core import merge as merging
from meerkat.core import plan as planning
from meerkat.core import resolve
from meerkat.core.plan import KeepLoser, Settled, Step
from meerkat.disk import commit
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.dot import Dot, Vector
from meerkat.model.path import RelPath
from meerkat.model.version import Base, Content, Entry, Siblings, Stat
from meerkat.node import heal, ledger, opening
from meerkat.node.ports import Intent, Tx
from meerkat.node.witness import Verdict, Witness

Plant = Callable[[pytest.MonkeyPatch], None]
After = Callable[[Siblings], Siblings]


def _after_merge(patches: pytest.MonkeyPatch, change: After) -> None:
    """Let something be dropped in silence whenever two replicas of a path have met."""
    honest = merging.merge

    def merge(mine: Siblings, theirs: Siblings, my_context: Vector, their_context: Vector) -> Siblings:
        return change(honest(mine, theirs, my_context, their_context))

    patches.setattr(merging, "merge", merge)


def silent_twin(patches: pytest.MonkeyPatch) -> None:
    """Of several dots with one content, only the greatest is kept."""

    def collapse(siblings: Siblings) -> Siblings:
        best: dict[Content, Dot] = {}
        for dot, version in siblings.items():
            if version.living:
                best[version.content] = max(dot, best.get(version.content, dot))
        return {d: v for d, v in siblings.items() if not v.living or best[v.content] == d}

    _after_merge(patches, collapse)


def silent_tombstone(patches: pytest.MonkeyPatch) -> None:
    """A tombstone beside something living is dropped."""

    def drop(siblings: Siblings) -> Siblings:
        living = {dot: version for dot, version in siblings.items() if version.living}
        return living or siblings

    _after_merge(patches, drop)


def anyone_drops(patches: pytest.MonkeyPatch) -> None:
    """Whoever sees a loser drops it, with its bytes or without."""

    def drop(siblings: Siblings) -> Siblings:
        losing = {dot for item in resolve.view(siblings, False).losers for dot in item.dots}
        return {dot: version for dot, version in siblings.items() if dot not in losing}

    _after_merge(patches, drop)


def silent_loser(patches: pytest.MonkeyPatch) -> None:
    """The loser has its copy, but no tombstone tells the others."""
    honest = ledger.keep_loser

    def keep(tx: Tx, path: RelPath, content: Content, copy: RelPath, copy_base: Base | None) -> bool:
        before = tx.siblings(path)
        kept = honest(tx, path, content, copy, copy_base)
        if kept:
            losing = merging.dots_of(before, content)
            tx.put_siblings(path, {dot: version for dot, version in before.items() if dot not in losing})
            ledger.refresh(tx, path)
        return kept

    patches.setattr(ledger, "keep_loser", keep)


def no_height(patches: pytest.MonkeyPatch) -> None:
    """Siblings are ordered by their digest alone."""
    honest = resolve.view

    def view(siblings: Siblings, living_below: bool) -> resolve.Outlook:
        flat = {dot: replace(version, height=1) for dot, version in siblings.items()}
        outlook = honest(flat, living_below)
        if outlook.winner is None or outlook.implied:
            return outlook
        dots = outlook.winner.dots
        return replace(outlook, winner=replace(outlook.winner, version=siblings[max(dots)]))

    for room in (planning, comparing):
        patches.setattr(room, "view", view)


def author_in_name(patches: pytest.MonkeyPatch) -> None:
    """The copy is named after whose version it is."""
    honest = planning.plan

    def plan(path: RelPath, siblings: Siblings, base: Base | None, living_below: bool) -> Step:
        step = honest(path, siblings, base, living_below)
        if isinstance(step, KeepLoser):
            author, seq = max(step.loser.dots)
            return replace(step, copy=RelPath(f"{path}.conflict-{author.node[:4]}-{seq}"))
        return step

    patches.setattr(ledger, "plan", plan)


def holder_only(patches: pytest.MonkeyPatch) -> None:
    """Only who shows the loser ever deals with it."""
    honest = planning.plan

    def plan(path: RelPath, siblings: Siblings, base: Base | None, living_below: bool) -> Step:
        step = honest(path, siblings, base, living_below)
        return Settled() if isinstance(step, KeepLoser) and not step.holder else step

    patches.setattr(ledger, "plan", plan)


def replace_all(patches: pytest.MonkeyPatch) -> None:
    """A write replaces every sibling, also those that the person never saw."""
    honest = comparing.compare

    def compare(siblings: Siblings, base: Base | None, have: Base | None, living_below: bool) -> object:
        change = honest(siblings, base, have, living_below)
        if change is None:
            return None
        version = merging.supersede(siblings, siblings, change.version)
        return comparing.Change(version, frozenset(siblings))

    patches.setattr(ledger, "compare", compare)


def no_retraction(patches: pytest.MonkeyPatch) -> None:
    """What nobody wrote stays, also when somebody has superseded it."""
    patches.setattr(merging, "retractable", lambda siblings: set())


def strong_copies(patches: pytest.MonkeyPatch) -> None:
    """A conflict copy counts as written by a person."""
    honest = ledger.write

    def write(tx: Tx, path: RelPath, change: comparing.Change) -> Dot:
        return honest(tx, path, replace(change, version=replace(change.version, weak=False)))

    patches.setattr(ledger, "write", write)


def equal_content_heals(patches: pytest.MonkeyPatch) -> None:
    """After a crash, a commit counts as done when the path shows the target, and else as never begun."""

    def heal_placing(
        root: Root, stage: Stage, trash: Trash, tx: Tx, intent: Intent, after: list[heal.After]
    ) -> heal.Note:
        assert intent.target is not None
        sight = heal_look(root, intent.path)
        if sight is not None and sight.content == intent.target.content:
            tx.put_base(intent.path, sight)
        return lambda: None

    def heal_look(root: Root, path: RelPath) -> Base | None:
        from meerkat.disk.scan import look

        return look(root, path, None).base

    patches.setattr(heal, "_heal_placing", heal_placing)


def no_intent(patches: pytest.MonkeyPatch) -> None:
    """Nothing is remembered of a commit that was cut off."""

    def forget(root: Root, stage: Stage, trash: Trash, tx: Tx, after: object) -> int:
        for intent in tx.intents():
            tx.clear_intent(intent.path)
        return 0

    patches.setattr(opening, "heal_intents", forget)


def copy_of_a_person(patches: pytest.MonkeyPatch) -> None:
    """A file with the name and bytes of a conflict copy is taken for what a person wrote."""
    patches.setattr(ledger, "is_copy", lambda path, content: False)


def no_inspection(patches: pytest.MonkeyPatch) -> None:
    """What an exchange brings out is taken for what was expected."""

    def is_old(stage: Stage, name: str, expected: Stat) -> bool:
        return True

    patches.setattr(commit, "_is_old", is_old)


def stage_wiped(patches: pytest.MonkeyPatch) -> None:
    """At the start everything in the stage is taken for a download."""

    def wipe(stage: Stage, trash: Trash, **options: object) -> None:
        for name in stage.names():
            stage.drop(name)

    patches.setattr(opening, "clean_stage", wipe)


def ordinary_adoption(patches: pytest.MonkeyPatch) -> None:
    """What stands on the disk after a lost index is taken for people's writes."""
    patches.setattr(ledger, "adopt", comparing.compare)


def epoch_continued(patches: pytest.MonkeyPatch) -> None:
    """A node that starts believes its index to be its newest."""
    patches.setattr(Witness, "judge", lambda *args: Verdict(proven=True, older=False))


def older_index_trusted(patches: pytest.MonkeyPatch) -> None:
    """A new epoch is begun, but an older index counts as telling what the disk was."""
    patches.setattr(Witness, "judge", lambda *args: Verdict(proven=False, older=False))


def no_floor_check(patches: pytest.MonkeyPatch) -> None:
    """A delta is taken from whoever offers one."""
    patches.setattr(merging, "delta_is_legal", lambda my_context, their_floor: True)
    honest = Replica.ask

    def ask(self: Replica, source: Replica) -> Answer | None:
        answer = honest(self, source)
        if answer is not None and answer.full and not self.recovering:
            with source.index.read() as view:
                answer.entries = list(view.entries_beyond(self.context()))
            answer.full = False
        return answer

    patches.setattr(Replica, "ask", ask)


def floors_on_full_only(patches: pytest.MonkeyPatch) -> None:
    """A delta does not tell the floor on."""
    honest = ledger.merge_entries

    def merge(tx: Tx, entries: Iterable[Entry], context: Vector, floor: Vector, *, dots_allowed: bool) -> list[RelPath]:
        if not merging.delta_is_legal(tx.context(), floor):
            raise ledger.NeedFull
        return honest(tx, entries, context, {}, dots_allowed=dots_allowed)

    patches.setattr(ledger, "merge_entries", merge)


def parts_shown(patches: pytest.MonkeyPatch) -> None:
    """The parts of a long pull are merged as they come; the context follows with the last."""
    honest = Replica.pull_part

    def pull_part(self: Replica, source: Replica, count: int = 1) -> None:
        before = self.under_way.sent if self.under_way and self.under_way.source is source else 0
        answer = self.under_way if before else None
        honest(self, source, count)
        answer = self.under_way or answer
        if answer is not None:
            with self.index.write() as tx:
                for entry in answer.entries[before : answer.sent]:
                    merged = merging.merge(tx.siblings(entry.path), entry.siblings, tx.context(), answer.context)
                    tx.put_siblings(entry.path, merged)

    patches.setattr(Replica, "pull_part", pull_part)


def no_snapshot(patches: pytest.MonkeyPatch) -> None:
    """Each part of a long pull is read when it is sent, and the context when all were."""
    honest = Replica.pull_part

    def pull_part(self: Replica, source: Replica, count: int = 1) -> None:
        if self.under_way is not None and self.under_way.source is source:
            answer = self.under_way
            with source.index.read() as view:
                for at in range(answer.sent, len(answer.entries)):
                    path = answer.entries[at].path
                    answer.entries[at] = Entry(path, view.siblings(path))
                answer.context, answer.floor = view.context(), view.floor()
        honest(self, source, count)

    patches.setattr(Replica, "pull_part", pull_part)


def late_resolve(patches: pytest.MonkeyPatch) -> None:
    """The winner is put down first, the loser's copy is made when somebody gets to it."""
    honest = planning.plan

    def plan(path: RelPath, siblings: Siblings, base: Base | None, living_below: bool) -> Step:
        step = honest(path, siblings, base, living_below)
        if isinstance(step, KeepLoser) and step.holder:
            winner = resolve.view(siblings, living_below).winner
            assert winner is not None
            return planning.Place(winner.version, winner.dots)
        return step

    patches.setattr(ledger, "plan", plan)


ALL: tuple[Plant, ...] = (
    silent_twin,
    silent_tombstone,
    anyone_drops,
    silent_loser,
    no_height,
    author_in_name,
    holder_only,
    replace_all,
    no_retraction,
    strong_copies,
    equal_content_heals,
    no_intent,
    copy_of_a_person,
    no_inspection,
    stage_wiped,
    ordinary_adoption,
    epoch_continued,
    older_index_trusted,
    no_floor_check,
    floors_on_full_only,
    parts_shown,
    no_snapshot,
    late_resolve,
)
