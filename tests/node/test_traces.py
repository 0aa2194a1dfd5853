"""The traces that made each merge rule necessary, played on real replicas: they hold, and with the rule taken away
each of them fails (so that no test here is one that cannot fail).

Replicas are called a, b, c, d. A trace plays, and says what must hold at its end; the pool's oracle says the rest:
equal folders and living dots everywhere, nothing lost, nothing back, one copy for each loser.
"""

import shutil
from collections.abc import Callable
from itertools import permutations

import mistakes
import pytest
from replica_pool import COPY_MARK, Pool, Violation
from replicas import Crash, text_content

from meerkat.core.resolve import copy_path
from meerkat.model.path import RelPath

Trace = Callable[[], None]


def hold(condition: bool, what: str) -> None:
    if not condition:
        raise Violation(what)


def by_rank(*texts: str) -> list[str]:
    """The texts in the order in which they win where nothing but the digest decides, the winner first."""
    return sorted(texts, key=lambda text: text_content(text).ident, reverse=True)


def copy_of(path: str, text: str) -> str:
    return copy_path(RelPath(path), text_content(text))


def copies_in(pool: Pool, name: str = "a") -> list[str]:
    return sorted(path for path in pool[name].tree() if COPY_MARK in path)


def crash_at(point: str, person: Callable[[], None] = lambda: None, acts_at: str = "") -> Callable[[str], None]:
    def between(step: str) -> None:
        if step == acts_at:
            person()
        if step == point:
            raise Crash

    return between


def die(pool: Pool, name: str, path: str, between: Callable[[str], None]) -> None:
    """A step in which the process dies; it is not started again."""
    with pytest.raises(Crash):
        pool.step(name, path, between)
    pool[name].stop(clean=False)


# ---- F1-F3: what is dropped in silence is never told


def twins_and_one_deletes() -> None:
    """F1: of two who wrote the same, one deletes: the other's file stays, and everybody shows it."""
    with Pool(3) as pool:
        pool.save("a", "f", "same")
        pool.pull("c", "a")
        pool.step("c", "f")
        pool.save("b", "f", "same")
        pool.pull("a", "b")
        pool.drop("b", "f")
        pool.pull("a", "b")
        pool.pull("c", "b", "a")
        pool.check()
        hold(pool["c"].tree() == {"f": "same"}, "who did not delete keeps the file")


def tombstone_beside_an_edit() -> None:
    """F2: a deletion that meets an edit nobody had seen leaves the edit, and takes the old version along everywhere."""
    with Pool(4) as pool:
        pool.save("a", "f", "old")
        pool.pull("c", "a")
        pool.pull("d", "a")
        pool.save("b", "f", "edit")
        pool.pull("c", "b")
        pool.drop("a", "f")
        pool.pull("a", "b")
        pool.pull("c", "a")
        pool.check()
        hold(pool["d"].tree() == {"f": "edit"}, "the edit stands alone")


def a_deleted_copy() -> None:
    """F3: a conflict copy that a person deletes does not come back from somebody who knew of the conflict."""
    winner, loser = by_rank("one", "two")
    with Pool(3) as pool:
        pool.save("a", "f", loser)
        pool.save("b", "f", winner)
        pool.pull("c", "a", "b")
        pool.pull("a", "b")
        pool.step("a", "f")
        pool.drop("a", copy_of("f", loser))
        pool.pull("c", "a")
        pool.check()
        hold(pool["c"].tree() == {"f": winner}, "the copy is gone")
        hold(sum(pool.copies.values()) == 1, f"it was made once, not {dict(pool.copies)}")


# ---- F4-F5, and what a write or a copy replaces


def the_order_grows_along_edits() -> None:
    """F4: while one resolves a loser away, the winner is edited; whatever the digests are, the path keeps a file."""
    for first, second, edit in permutations(("x", "y", "z")):
        with Pool(3) as pool:
            pool.save("a", "f", first)
            pool.save("b", "f", second)
            pool.pull("b", "a")
            pool.pull("a", "b")
            pool.step("b", "f")
            pool.save("a", "f", edit)
            pool.step("a", "f")
            pool.check()
            hold("f" in pool["a"].tree(), f"a file stands at the path: {pool['a'].tree()}")


def twins_lose() -> None:
    """F5: two hold the same loser under dots of their own, one knows both: it still has one copy."""
    winner, loser = by_rank("one", "two")
    with Pool(3) as pool:
        for name in "ab":
            pool.save(name, "f", loser)
        pool.save("c", "f", winner)
        pool.pull("a", "c")
        pool.pull("b", "a", "c")
        pool.step("a", "f")
        pool.step("b", "f")
        pool.check()
        hold(copies_in(pool) == [copy_of("f", loser)], f"one copy, not {copies_in(pool)}")


def a_copy_is_edited() -> None:
    """Two make the same copy, a person edits one of them: the edit stands, and nothing further is copied."""
    winner, loser = by_rank("one", "two")
    copy = copy_of("f", loser)
    with Pool(3) as pool:
        for name in "ab":
            pool.save(name, "f", loser)
        pool.save("c", "f", winner)
        for name in "ab":
            pool.pull(name, "c")
            pool.step(name, "f")
        pool.save("a", copy, "edited")
        pool.check()
        hold(pool["b"].tree() == {"f": winner, copy: "edited"}, f"no further copy: {pool['b'].tree()}")


def an_edited_copy_and_a_late_twin() -> None:
    """A copy was made and edited; then somebody who holds the same loser hears of it: no second copy is made."""
    winner, loser = by_rank("one", "two")
    copy = copy_of("f", loser)
    with Pool(3) as pool:
        for name in "ab":
            pool.save(name, "f", loser)
        pool.save("c", "f", winner)
        pool.pull("a", "c")
        pool.step("a", "f")
        pool.save("a", copy, "edited")
        pool.pull("b", "a")
        pool.step("b", copy)
        pool.step("b", "f")
        pool.check()
        hold(pool["b"].tree() == {"f": winner, copy: "edited"}, f"no further copy: {pool['b'].tree()}")


def an_edit_replaces_what_was_seen() -> None:
    """A person edits what the folder shows, while the node has heard of another edit: both stand."""
    with Pool(2) as pool:
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.save("a", "f", "by a")
        pool.pull("b", "a")
        pool.save("b", "f", "by b")
        pool.check()
        hold(set(pool["a"].tree().values()) == {"by a", "by b"}, "both edits stand")


# ---- F6: crashes


def a_commit_cut_off_and_reverted() -> None:
    """F6: put down but not recorded, then the pool goes back to the old content: the going back is not undone."""
    with Pool(2) as pool:
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.save("a", "f", "new")
        pool.pull("b", "a")
        die(pool, "b", "f", crash_at("done"))
        pool["b"].start()
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool["b"].scan()
        pool.check()
        hold(pool["b"].tree() == {"f": "old"}, "what was reverted stays so")


def a_delete_after_a_crash() -> None:
    """F6: put down but not recorded; a person deletes it before the restart: the deletion counts."""
    with Pool(2) as pool:
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.save("a", "f", "new")
        pool.pull("b", "a")
        die(pool, "b", "f", crash_at("done"))
        pool.delete("b", "f")
        pool["b"].start()
        pool["b"].scan()
        pool.check()
        hold(pool["a"].tree() == {}, "deleted is deleted")


def an_edit_after_a_crash() -> None:
    """F6: put down but not recorded; a person edits it before the restart: no conflict, they saw what they edited."""
    for in_place in (False, True):
        with Pool(2) as pool:
            pool.save("a", "f", "old")
            pool.pull("b", "a")
            pool.step("b", "f")
            pool.save("a", "f", "new")
            pool.pull("b", "a")
            die(pool, "b", "f", crash_at("done"))
            pool.write("b", "f", "edit", in_place=in_place)
            pool["b"].start()
            pool["b"].scan()
            pool.check()
            hold(pool["a"].tree() == {"f": "edit"}, f"the edit stands alone: {pool['a'].tree()}")


def an_edit_just_before_the_crash() -> None:
    """R9: a person saved between the look and the exchange, then the process died: their edit is put back."""
    with Pool(2) as pool:
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.save("a", "f", "new")
        pool.pull("b", "a")
        die(pool, "b", "f", crash_at("exchanged", lambda: pool.write("b", "f", "edit"), acts_at="looked"))
        pool["b"].start()
        hold(pool["b"].tree() == {"f": "edit"}, f"it stands where it was saved: {pool['b'].tree()}")
        pool.check()
        hold(set(pool["a"].tree().values()) == {"new", "edit"}, "an ordinary conflict")


def an_edit_just_before_a_removal() -> None:
    """R9: a person saved just before the pool's deletion was carried out and the process died: it is put back."""
    with Pool(2) as pool:
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.drop("a", "f")
        pool.pull("b", "a")
        die(pool, "b", "f", crash_at("exchanged", lambda: pool.write("b", "f", "edit"), acts_at="looked"))
        pool["b"].start()
        hold(pool["b"].tree() == {"f": "edit"}, f"it stands where it was saved: {pool['b'].tree()}")
        pool.check()
        hold(pool["a"].tree() == {"f": "edit"}, "an edit beats a deletion")


def a_folder_just_before_the_crash() -> None:
    """R9: a person put a folder with a file where an exchange was about to happen: nothing of it is lost."""
    with Pool(2) as pool:
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.save("a", "f", "new")
        pool.pull("b", "a")

        def person() -> None:
            pool.delete("b", "f")
            pool.make_folder("b", "f")
            pool.write("b", "f/x", "inside")

        die(pool, "b", "f", crash_at("exchanged", person, acts_at="looked"))
        pool["b"].start()
        pool.check()
        hold("inside" in pool["a"].tree().values(), "what was in the folder stands somewhere")


def a_copy_cut_off() -> None:
    """A conflict copy stands, but the process died before it was recorded: it is no person's file. Somebody else makes
    the same copy and a person edits that: nothing further is copied."""
    winner, loser = by_rank("one", "two")
    copy = copy_of("f", loser)
    with Pool(3) as pool:
        for name in "ab":
            pool.save(name, "f", loser)
        pool.save("c", "f", winner)
        pool.pull("a", "c")
        pool.pull("b", "c")
        die(pool, "a", "f", crash_at("done"))
        pool["a"].start()
        pool["a"].scan()
        pool.step("b", "f")
        pool.save("b", copy, "edited")
        pool.check()
        hold(pool["a"].tree() == {"f": winner, copy: "edited"}, f"no further copy: {pool['a'].tree()}")


# ---- F7: long pulls


def a_part_is_not_shown() -> None:
    """F7: what came with a part of a long pull is not shown, so nobody can delete it before it is known."""
    with Pool(2) as pool:
        pool.save("a", "f", "one")
        pool.save("a", "g", "two")
        pool["b"].pull_part(pool["a"])
        pool.step("b", "f")
        if "f" in pool["b"].tree():
            pool.drop("b", "f")
        pool["b"].interrupt()
        pool.pull("b", "a")
        pool.check()
        hold(pool["b"].tree() == {"f": "one", "g": "two"}, "both files came")


def parts_of_one_instant() -> None:
    """F7: what is overwritten while a long pull is under way arrives with the next one."""
    with Pool(2) as pool:
        pool.save("a", "f", "one")
        pool.save("a", "g", "two")
        pool["b"].pull_part(pool["a"])
        pool.save("a", "f", "three")
        pool["b"].pull_part(pool["a"])
        pool.pull("b", "a")
        pool.check()
        hold(pool["b"].tree() == {"f": "three", "g": "two"}, "the newer one came")


# ---- F8-F9: indexes lost and restored


def behind_when_the_index_was_lost() -> None:
    """F8: a node that loses its index while its file is older than the pool's is merely behind."""
    with Pool(3) as pool:
        pool.save("a", "f", "old")
        pool.pull("c", "a")
        pool.step("c", "f")
        pool.save("a", "f", "new")
        pool.pull("b", "a")
        pool.lose_index("c")
        pool.pull("c", "b")
        pool.check()
        hold(pool["c"].tree() == {"f": "new"}, "the newer one stands alone")


def deleted_when_the_index_was_lost() -> None:
    """F8: what the pool deleted does not come back from a node that lost its index."""
    with Pool(3) as pool:
        pool.save("a", "f", "old")
        pool.pull("c", "a")
        pool.step("c", "f")
        pool.drop("a", "f")
        pool.lose_index("c")
        pool.pull("c", "a")
        pool.check()
        hold(pool["a"].tree() == {}, "deleted is deleted")


def deleted_but_not_told_yet() -> None:
    """F8, R6: as before, but the member that the node learns from has not heard of the deletion either."""
    with Pool(3) as pool:
        pool.save("a", "f", "old")
        pool.pull("c", "a")
        pool.step("c", "f")
        pool.drop("a", "f")
        pool.save("b", "g", "other")
        pool.lose_index("c")
        pool.pull("c", "b")
        pool.pull("c", "a")
        pool.check()
        hold(pool["a"].tree() == {"g": "other"}, "deleted is deleted")


def a_backup_is_restored() -> None:
    """F9: a node restored from a backup writes before it has met anybody: no dot is given twice, all that was written
    stands."""
    with Pool(2) as pool:
        pool.save("a", "f", "one")
        pool["a"].back_up(pool.place / "backup")
        pool.save("a", "g", "two")
        pool.pull("b", "a")
        pool["b"].settle()
        pool.restore("a", pool.place / "backup", index_only=False)
        pool.save("a", "h", "three")
        pool.pull("b", "a")
        pool.pull("a", "b")
        pool.check()
        hold(pool["b"].tree() == {"f": "one", "g": "two", "h": "three"}, "all three stand")


def an_older_index() -> None:
    """F9, R12: an index older than its disk: what the disk shows is known to the pool as old, so it is only behind."""
    with Pool(2) as pool:
        pool.save("a", "f", "one")
        pool["a"].back_up(pool.place / "backup")
        pool.save("a", "f", "two")
        pool.pull("b", "a")
        pool["b"].settle()
        pool.save("b", "f", "three")
        pool.restore("a", pool.place / "backup", index_only=True)
        pool["a"].scan()
        pool.pull("a", "b")
        pool.check()
        hold(pool["a"].tree() == {"f": "three"}, f"the newest stands alone: {pool['a'].tree()}")


def an_older_index_deletes_nothing() -> None:
    """R12: what an older index does not know to be written since, and what is missing beside it, is no deletion."""
    with Pool(2) as pool:
        pool.save("a", "f", "one")
        pool["a"].back_up(pool.place / "backup")
        pool.drop("a", "f")
        pool.pull("b", "a")
        pool.save("b", "f", "again")
        pool.pull("a", "b")
        pool.restore("a", pool.place / "backup", index_only=True)
        pool["a"].scan()
        pool.pull("a", "b")
        pool.check()
        hold(pool["a"].tree() == {"f": "again"}, "what was written since stands")


# ---- F10-F12: bytes


def who_has_no_bytes_drops_nothing() -> None:
    """F10: a node that only heard of a loser leaves it to those who have its bytes."""
    winner, loser = by_rank("one", "two")
    with Pool(3) as pool:
        pool.save("a", "f", winner)
        pool.save("b", "f", loser)
        pool.pull("c", "a", "b")
        pool.pull("b", "c")
        pool.pull("a", "c")
        pool.step("b", "f")
        pool.check()
        hold(pool["c"].tree() == {"f": winner, copy_of("f", loser): loser}, "both stand")


def what_comes_out_is_inspected() -> None:
    """F10: a person saves between the look and the exchange: what they saved stands."""
    with Pool(2) as pool:
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.save("a", "f", "new")
        pool.pull("b", "a")
        pool.step("b", "f", lambda step: pool.write("b", "f", "edit") if step == "looked" else None)
        pool.check()
        hold(set(pool["a"].tree().values()) == {"new", "edit"}, "both stand")


def the_copy_comes_first() -> None:
    """R7: the loser has its copy before the winner takes its place; the trash is nobody's only home."""
    winner, loser = by_rank("one", "two")
    with Pool(2) as pool:
        pool.save("a", "f", winner)
        pool.save("b", "f", loser)
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.step("b", "f")
        for day in (pool["b"].folder / ".meerkat" / "trash").iterdir():
            shutil.rmtree(day)
        pool.check()
        hold(pool["a"].tree() == {"f": winner, copy_of("f", loser): loser}, "both stand")


def bytes_left_in_the_stage() -> None:
    """F11: an exchange brought out a person's bytes, the process died, the index was lost: they are in the trash."""
    with Pool(2) as pool:
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.save("a", "f", "new")
        pool.pull("b", "a")
        die(pool, "b", "f", crash_at("exchanged", lambda: pool.write("b", "f", "edit"), acts_at="looked"))
        pool["b"].start_without_index()
        pool.diary.lossy = True
        pool.check(strict=False)
        hold("edit" in pool["b"].trashed(), "the person can have it back")


def bytes_in_the_stage_of_an_older_index() -> None:
    """F11, R12: as before, but the index is an older one: it knows of no commit that was under way, so neither it nor
    anyone may drop what lies there."""
    with Pool(2) as pool:
        pool.save("a", "f", "old")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool["b"].back_up(pool.place / "backup")
        pool.save("a", "f", "new")
        pool.pull("b", "a")
        die(pool, "b", "f", crash_at("exchanged", lambda: pool.write("b", "f", "edit"), acts_at="looked"))
        pool.restore("b", pool.place / "backup", index_only=True)
        pool.check(strict=False)
        hold("edit" in pool["b"].trashed() | set(pool["b"].tree().values()), "the person can have it back")


def nobody_holds_the_loser() -> None:
    """F12: the copy stands, but who made it lost its index before it told anyone: the loser is settled all the same."""
    winner, loser = by_rank("one", "two")
    with Pool(3) as pool:
        pool.save("a", "f", loser)
        pool.save("b", "f", winner)
        pool.pull("c", "a", "b")
        pool.pull("a", "b")
        pool.step("a", "f")
        pool.step("a", "f")
        pool.lose_index("a")
        pool.pull("a", "c")
        pool.check()
        hold(pool["b"].tree() == {"f": winner, copy_of("f", loser): loser}, "both stand, once")


# ---- floors


def a_forgotten_tombstone() -> None:
    """R2: who has never heard of a deletion learns of it, though its tombstone was forgotten where it was made."""
    with Pool(4) as pool:
        pool.save("a", "f", "one")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.drop("b", "f")
        pool["b"].forget(lambda: True)
        pool.pull("c", "b")
        pool.save("c", "g", "two")
        pool.pull("a", "c")
        pool.pull("d", "a")
        pool.check()
        hold(pool["a"].tree() == {"g": "two"}, "deleted is deleted")


def a_floor_travels() -> None:
    """R2: a tombstone that the merge took away leaves nothing but the floor to tell of it, on deltas as well. Here d
    knows every living dot that c has, and still holds what was deleted."""
    with Pool(5) as pool:
        pool.save("a", "f", "one")
        pool.pull("b", "a")
        pool.step("b", "f")
        pool.drop("b", "f")
        pool.pull("c", "b")
        pool["b"].forget(lambda: True)
        pool.save("e", "f", "two")
        pool.pull("b", "e")
        pool.pull("d", "a")
        pool.pull("d", "e")
        pool.pull("c", "b")
        pool.pull("d", "c")
        with pool["d"].index.read() as view:
            hold(len(view.siblings(RelPath("f"))) == 1, "d compared everything, as c's floor told it to")
        pool.check()
        hold(pool["a"].tree() == {"f": "two"}, "deleted is deleted")


TRACES: dict[Trace, tuple[mistakes.Plant, ...]] = {
    twins_and_one_deletes: (mistakes.silent_twin,),
    tombstone_beside_an_edit: (mistakes.silent_tombstone,),
    a_deleted_copy: (mistakes.silent_loser,),
    the_order_grows_along_edits: (mistakes.no_height,),
    twins_lose: (mistakes.author_in_name,),
    a_copy_is_edited: (mistakes.strong_copies, mistakes.no_retraction),
    an_edited_copy_and_a_late_twin: (),
    an_edit_replaces_what_was_seen: (mistakes.replace_all,),
    a_commit_cut_off_and_reverted: (mistakes.no_intent,),
    a_delete_after_a_crash: (mistakes.equal_content_heals, mistakes.no_intent),
    an_edit_after_a_crash: (mistakes.equal_content_heals, mistakes.no_intent),
    an_edit_just_before_the_crash: (),
    an_edit_just_before_a_removal: (),
    a_folder_just_before_the_crash: (),
    a_copy_cut_off: (mistakes.copy_of_a_person,),
    a_part_is_not_shown: (mistakes.parts_shown,),
    parts_of_one_instant: (mistakes.no_snapshot,),
    behind_when_the_index_was_lost: (mistakes.ordinary_adoption,),
    deleted_when_the_index_was_lost: (mistakes.ordinary_adoption,),
    deleted_but_not_told_yet: (mistakes.ordinary_adoption, mistakes.no_retraction),
    a_backup_is_restored: (mistakes.epoch_continued,),
    an_older_index: (mistakes.older_index_trusted,),
    an_older_index_deletes_nothing: (),
    who_has_no_bytes_drops_nothing: (mistakes.anyone_drops,),
    what_comes_out_is_inspected: (mistakes.no_inspection,),
    the_copy_comes_first: (mistakes.late_resolve,),
    bytes_left_in_the_stage: (mistakes.stage_wiped,),
    bytes_in_the_stage_of_an_older_index: (mistakes.stage_wiped, mistakes.older_index_trusted),
    nobody_holds_the_loser: (mistakes.holder_only,),
    a_forgotten_tombstone: (mistakes.no_floor_check,),
    a_floor_travels: (mistakes.floors_on_full_only,),
}


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.__name__)
def test_a_trace_holds(trace: Trace) -> None:
    """With the rules as they are, every trace ends as its sentence says."""
    trace()


@pytest.mark.parametrize(
    ("trace", "plant"),
    [(trace, plant) for trace, plants in TRACES.items() for plant in plants],
    ids=lambda each: each.__name__,
)
def test_a_mistake_is_seen(trace: Trace, plant: mistakes.Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its rule taken away, the trace fails."""
    plant(monkeypatch)
    with pytest.raises(Violation):
        trace()


def test_each_mistake_has_a_trace() -> None:
    """No rule is without a trace that fails when it is taken away."""
    assert {plant for plants in TRACES.values() for plant in plants} == set(mistakes.ALL)
