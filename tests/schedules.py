"""Random lives of a pool from a seed: people, pulls, cut-off pulls, commits with crashes, forgetting, lost indexes.

The same seed gives the same life (folders, file times and dice are the test's own; epochs and inodes are the only
chance left, and nothing may depend on them).
"""

import logging
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from replica_pool import COPY_MARK, Pool, Violation, chance
from replicas import Crash, Replica

POINTS = ("intended", "looked", "exchanged", "inspected", "done", "discarded")
"""Where a person or a crash can come into a commit."""

PLACES = (("f",), ("f",), ("f", "g"), ("f", "g", "d", "d/x"), ("d", "d/x", "d/e", "d/e/y"))


@dataclass(frozen=True, slots=True)
class Kind:
    """What may happen in a life.

    Attributes:
        steps: fewest and most events.
        losses: indexes are lost.
        backups: backups are restored, members vanish.
        forgetting: tombstones are forgotten.
        alone: one person at a time, who sees the newest: nothing may conflict.
        same: share of writes whose text stands somewhere already.
        polite: share of people who touch only what is the newest, as most do.
    """

    steps: tuple[int, int] = (8, 50)
    losses: bool = False
    backups: bool = False
    forgetting: bool = True
    alone: bool = False
    same: float = 0.15
    polite: float = 0.6
    places: tuple[tuple[str, ...], ...] = PLACES


KINDS = {
    "plain": Kind(),
    "long": Kind(steps=(30, 90)),
    "losses": Kind(steps=(10, 45), losses=True, forgetting=False),
    "disasters": Kind(steps=(20, 60), losses=True, backups=True),
    "alone": Kind(alone=True, same=0.0, places=(("f",), ("f", "g"))),
}


@dataclass(slots=True)
class Life:
    """One pool's life."""

    pool: Pool
    rng: random.Random
    kind: Kind
    log: list[str] = field(default_factory=list)
    texts: int = 0
    backups: set[str] = field(default_factory=set)
    newest: dict[str, str | None] = field(default_factory=dict)
    places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.places = self.rng.choice(self.kind.places)

    def run(self) -> None:
        events: list[tuple[float, Callable[[Replica], None]]] = [
            (22, self.person),
            (14, self.scan),
            (14, self.pull),
            (6, self.part),
            (22, self.commit),
            (14, self.catch_up),
            (3, self.crash),
        ]
        if self.kind.forgetting:
            events.append((6, self.forget))
        if self.kind.losses:
            events.append((2, self.lose_index))
        if self.kind.backups:
            events.extend([(2, self.back_up), (2, self.restore), (0.5, self.vanish)])
        weights, actions = zip(*events, strict=True)
        for _ in range(self.rng.randrange(*self.kind.steps)):
            replica = self.rng.choice(self.pool.present)
            self.rng.choices(actions, weights)[0](replica)
        self.pool.check(strict=False)
        if self.kind.alone and self.pool.copies:
            raise Violation(f"a conflict where people took turns: {dict(self.pool.copies)}")

    def note(self, *words: object) -> None:
        self.log.append(" ".join(map(str, words)))

    # ---- what can happen

    def person(self, replica: Replica, path: str | None = None) -> None:
        tree = replica.tree()
        if path is None:
            copies = [] if self.kind.alone else [each for each in tree if COPY_MARK in each]
            path = self.rng.choice([*self.places, *copies])
        if (self.kind.alone or self.rng.random() < self.kind.polite) and not self.is_ones_turn(replica, path):
            return
        if path in ("d", "d/e") and path not in tree:
            self.note(replica.name, "mkdir", path)
            self.pool.make_folder(replica.name, path)
        elif self.rng.random() < 0.7:
            text = self.a_text()
            in_place = self.rng.random() < 0.5
            self.note(replica.name, "write", path, text, "in place" if in_place else "")
            self.pool.write(replica.name, path, text, in_place=in_place)
            self.newest[path] = text
        else:
            self.note(replica.name, "delete", path)
            self.pool.delete(replica.name, path)
            self.newest[path] = None

    def is_ones_turn(self, replica: Replica, path: str) -> bool:
        if path not in self.newest:
            return True
        tree = replica.tree()
        if self.newest[path] is not None:
            return tree.get(path) == self.newest[path]
        others = (other for other in self.pool.present if other is not replica)
        return path not in tree and not any(path in other.tree() or path in other.living() for other in others)

    def a_text(self) -> str:
        if self.rng.random() < self.kind.same:
            there = sorted({text for each in self.pool.present for text in each.tree().values() if text is not None})
            if there:
                return self.rng.choice(there)
        self.texts += 1
        return f"t{self.texts}"

    def scan(self, replica: Replica) -> None:
        chosen = None if self.rng.random() < 0.6 else [self.rng.choice(self.places)]
        self.note(replica.name, "scan", chosen or "all")
        replica.scan(chosen)

    def other(self, replica: Replica) -> Replica | None:
        others = [each for each in self.pool.present if each is not replica]
        return self.rng.choice(others) if others else None

    def pull(self, replica: Replica) -> None:
        source = self.other(replica)
        if source is not None:
            self.note(replica.name, "pull", source.name)
            replica.pull(source)

    def part(self, replica: Replica) -> None:
        if replica.under_way is not None and self.rng.random() < 0.2:
            self.note(replica.name, "interrupt")
            replica.interrupt()
            return
        source = self.other(replica)
        if replica.under_way is not None and self.rng.random() < 0.8:
            source = replica.under_way.source
        if source in self.pool.present and source is not None:
            self.note(replica.name, "part of", source.name)
            replica.pull_part(source)

    def commit(self, replica: Replica) -> None:
        paths = sorted(replica.pending() if self.rng.random() < 0.8 else replica.paths())
        for path in self.rng.sample(paths, min(len(paths), 2)):
            race_at = self.rng.choice(POINTS) if self.rng.random() < 0.4 and not self.kind.alone else None
            crash_at = self.rng.choice(POINTS) if self.rng.random() < 0.25 else None
            self.note(replica.name, "step", path, f"race at {race_at}, crash at {crash_at}")

            def between(point: str, path: str = path, race: str | None = race_at, crash: str | None = crash_at) -> None:
                if point == race:
                    self.person(replica, path)
                if point == crash:
                    raise Crash

            try:
                replica.step(path, between)
            except Crash:
                self.die(replica, path)

    def catch_up(self, replica: Replica) -> None:
        """All that a quiet moment brings: so that what happens next happens to something old."""
        self.pull(replica)
        self.note(replica.name, "catches up")
        replica.scan()
        replica.settle()

    def crash(self, replica: Replica) -> None:
        self.note(replica.name, "crash")
        self.die(replica, None)

    def die(self, replica: Replica, path: str | None) -> None:
        replica.stop(clean=False)
        if self.rng.random() < 0.4 and not self.kind.alone:
            self.person(replica, path)
        if self.kind.losses and self.rng.random() < 0.2:
            self.note(replica.name, "and its index is lost")
            self.pool.start_without_index(replica.name)
        else:
            replica.start()

    def forget(self, replica: Replica) -> None:
        self.note(replica.name, "forget")
        self.pool.diary.forgetting = True
        replica.forget(chance(self.rng, 0.7))

    def lose_index(self, replica: Replica) -> None:
        self.note(replica.name, "lose index")
        self.pool.lose_index(replica.name)

    def back_up(self, replica: Replica) -> None:
        if not replica.recovering:
            self.note(replica.name, "back up")
            self.backups.add(replica.name)
            replica.back_up(self.pool.place / f"backup-{replica.name}")

    def restore(self, replica: Replica) -> None:
        if replica.name in self.backups:
            index_only = self.rng.random() < 0.5
            self.note(replica.name, "restore", "index only" if index_only else "all")
            self.pool.restore(replica.name, self.pool.place / f"backup-{replica.name}", index_only=index_only)

    def vanish(self, replica: Replica) -> None:
        if len(self.pool.present) > 2:
            self.note(replica.name, "vanish")
            self.pool.gone.add(replica.name)


def live(seed: int, kind: str) -> Life:
    """One life from its beginning to quiet.

    Raises:
        Violation: with the seed and everything that happened.
    """
    rng = random.Random(f"{kind} {seed}")
    with Pool(rng.choice([2, 3, 3, 4])) as pool:
        life = Life(pool, rng, KINDS[kind])
        try:
            life.run()
        except Exception as error:
            happened = "\n".join(life.log)
            raise Violation(f"seed {seed} of {kind!r}: {error}\n{happened}") from error
        return life


def main(kind: str, count: int) -> None:
    """Live on and on: `python tests/schedules.py KIND COUNT` prints every life that ends badly."""
    logging.disable(logging.CRITICAL)
    bad = 0
    for seed in range(count):
        try:
            live(seed, kind)
        except Violation as violation:
            bad += 1
            print(violation, end="\n\n", flush=True)
    print(f"{count} lives, {bad} ended badly")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
