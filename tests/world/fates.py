"""What befalls nodes, links and disks. Each fate has a name of its own and dice of its own (see `people`)."""

import asyncio
import random
from typing import TYPE_CHECKING

from world.place import Place, index_of

if TYPE_CHECKING:
    from world.world import World


class Fates:
    """Strikes while people work."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._count = 0

    async def strike(self, ends: float) -> None:
        while self._world.loop.time() < ends:
            await asyncio.sleep(self._world.dice.expovariate(1 / self._world.weather.fate_s))
            self._count += 1
            key = f"F{self._count}"
            dice = random.Random(f"{self._world.seed}/{key}")
            place = dice.choice(self._world.places)
            if not self._world.may(key):
                continue
            fate = dice.choice(
                (
                    self._doom,
                    self._doom,
                    self._die,
                    self._halt,
                    self._part,
                    self._part,
                    self._mend,
                    self._break,
                    self._overflow,
                    self._refuse,
                    self._slow,
                    self._back_up,
                    self._forget,
                )
            )
            fate(place, dice)

    def _doom(self, place: Place, dice: random.Random) -> None:
        """It dies some steps from now, wherever that is."""
        life = place.life
        if not self._world.weather.crashes or life is None or life.dead:
            return
        if self._world.weather.power and dice.random() < 0.5:
            self._world.power_due.add(life)
        life.doomed_at = life.steps + dice.choice((1, 3, 10, 30, 100)) + dice.randrange(5)
        self._world.chronicle.note(f"fate {life} is doomed at {life.doomed_at}")

    def _die(self, place: Place, dice: random.Random) -> None:
        if self._world.weather.crashes and place.life is not None and place.node is not None:
            if self._world.weather.power and dice.random() < 0.5:
                self._world.power_due.add(place.life)
            self._world.kill(place)
        elif place.life is None:
            self._world.start(place)

    def _halt(self, place: Place, dice: random.Random) -> None:
        if place.life is None:
            self._world.start(place)
        elif place.ready and not place.life.dead:
            self._world.chronicle.note(f"fate {place.life} is told to stop")
            place.stop.set()

    def _part(self, place: Place, dice: random.Random) -> None:
        other = dice.choice([each for each in self._world.places if each is not place])
        self._world.net.barriers.add((place.name, other.name))
        if dice.random() < 0.7:
            self._world.net.barriers.add((other.name, place.name))
        self._world.chronicle.note(f"fate barriers {sorted(self._world.net.barriers)}")

    def _mend(self, place: Place, dice: random.Random) -> None:
        self._world.net.heal()
        self._world.chronicle.note("fate no barriers")

    def _break(self, place: Place, dice: random.Random) -> None:
        live = [each for each in self._world.net.live() if not each.ended]
        if live:
            connection = dice.choice(live)
            connection.cut("the link broke", tell=dice.random() < 0.7)
            self._world.chronicle.note(f"fate link {connection.names} breaks")

    def _overflow(self, place: Place, dice: random.Random) -> None:
        if place.watch is not None:
            place.watch.overflow()

    def _refuse(self, place: Place, dice: random.Random) -> None:
        if self._world.weather.refusals:
            self._world.door.refusing[place.name] = dice.choice((0.02, 0.3, 1.0))
            self._world.chronicle.note(f"fate the disk of {place.name} refuses {self._world.door.refusing[place.name]}")
            self._world.loop.call_later(dice.uniform(0.1, 3.0), self._world.door.refusing.pop, place.name, None)

    def _back_up(self, place: Place, dice: random.Random) -> None:
        if place.ready and place.life is not None and not place.life.dead:
            place.backup = index_of(place)

    def _forget(self, place: Place, dice: random.Random) -> None:
        if self._world.weather.forgetful and place.ready and place.node is not None:
            self._world.forget(place, everything=dice.random() < 0.5)

    def _slow(self, place: Place, dice: random.Random) -> None:
        self._world.net.slow_s = dice.choice((0.0005, 0.005, 0.05))
