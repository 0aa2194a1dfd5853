"""Makes a failing world smaller: acts and fates are left out, as long as it still fails."""

from world.weather import Weather
from world.world import Violation, World

TRIES_MAX = 150


def shrunk(seed: int, happened: list[str], weather: Weather) -> str:
    """The failure with as few acts and fates as were found to be enough."""
    skip: frozenset[str] = frozenset()
    keys = list(dict.fromkeys(happened))
    last: Violation | None = None
    tries = 0
    size = max(1, len(keys) // 2)
    while size and tries < TRIES_MAX:
        rest = [key for key in keys if key not in skip]
        smaller = False
        for at in range(0, len(rest), size):
            more = skip | frozenset(rest[at : at + size])
            tries += 1
            try:
                World(seed, more, weather).run()
            except Violation as violation:
                skip, last, smaller = more, violation, True
            if tries >= TRIES_MAX:
                break
        if not smaller or size > 1:
            size //= 2
    left = [key for key in keys if key not in skip]
    return f"shrunk to {len(left)} of {len(keys)} acts and fates after {tries} tries: {left}\n{last}"
