"""`python -m world`: live some worlds, replay one, or shrink one that fails.

    python -m world --seeds 0:50           worlds 0 to 49; ends with 1 when one fails
    python -m world --seeds 17 --story     the whole story of one
    python -m world --seeds 17 --shrink    leave out acts and fates while it still fails
    python -m world --forever 3600         new seeds for so many seconds, from the first of --seeds on
    python -m world --mistake NAME ...     with a mistake planted into the engine
    python -m world --survey --hard        which seed finds which of the planted mistakes, and how soon
    python -m world --crowd 8,32,128       figures of pools of so many nodes, without disks (--scenes spread,idle,...)

PYTHONHASHSEED has to be fixed for a seed to mean the same life; it is set here when it is not.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from itertools import chain

REAL_TIME = time.monotonic


def main() -> int:
    parser = argparse.ArgumentParser(prog="world")
    parser.add_argument("--seeds", default="0:20")
    parser.add_argument("--story", action="store_true")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--forever", type=float, default=0.0)
    parser.add_argument("--mistake", default="")
    parser.add_argument("--hard", action="store_true", help="short and hard: everything at once")
    parser.add_argument("--stop", action="store_true", help="end with the first failure")
    parser.add_argument("--survey", action="store_true")
    parser.add_argument("--digests", action="store_true")
    parser.add_argument("--crowd", default="")
    parser.add_argument("--scenes", default="")
    said = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, "-m", "world", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    if said.crowd:
        return _crowd([int(each) for each in said.crowd.split(",")], said.scenes)
    from world.mistakes import MISTAKES, planted
    from world.shrink import shrunk
    from world.weather import Weather
    from world.world import Violation, World

    first, _, last = said.seeds.partition(":")
    all_seeds = range(int(first), int(last) if last else int(first) + 1)
    if said.survey:
        for name in MISTAKES:
            print(f"{name:24} {_found(name, all_seeds, hard=said.hard)}", flush=True)
        return 0
    seeds = iter(all_seeds)
    if said.forever:
        seeds = iter(range(int(first), sys.maxsize))
    began = REAL_TIME()
    failed: list[int] = []
    count = 0
    node_s = 0.0
    with planted(said.mistake):
        for seed in seeds:
            if said.forever and REAL_TIME() - began > said.forever:
                break
            count += 1
            world = World(seed, weather=Weather.hard(seed) if said.hard else None)
            try:
                digest = world.run()
                if said.digests:
                    print(seed, digest, flush=True)
            except Violation as violation:
                failed.append(seed)
                again = f"PYTHONPATH=tests python -m world --seeds {seed}{' --hard' if said.hard else ''}"
                print(f"FAILED {violation}\nreplay: {again}", flush=True)
                if said.shrink:
                    print(shrunk(seed, world.happened, world.weather), flush=True)
                if said.stop:
                    break
            finally:
                node_s += world.node_s
            if said.story:
                print("\n".join(world.chronicle.lines))
    lived = f"{count} worlds, {node_s / 3600:.1f} node-hours"
    print(f"{lived} in {REAL_TIME() - began:.1f} s, failed: {failed}", flush=True)
    return 1 if failed else 0


def _crowd(counts: list[int], scenes: str) -> int:
    """Print the figures; 1 when one is missed."""
    from world.crowd_figures import BETWEEN_TWO, SCENES, between_two, figures

    missed = 0
    began = REAL_TIME()
    chosen = scenes.split(",") if scenes else [*BETWEEN_TWO, *SCENES]
    for figure in chain(
        between_two([name for name in chosen if name in BETWEEN_TWO]),
        figures(counts, [name for name in chosen if name in SCENES]),
    ):
        print(f"{figure}  [{REAL_TIME() - began:.0f} s]", flush=True)
        missed += not figure.kept
    return 1 if missed else 0


def _found(mistake: str, seeds: Iterable[int], *, hard: bool) -> str:
    """By which seed a planted mistake is found, and as what."""
    from world.mistakes import planted
    from world.weather import Weather
    from world.world import Violation, World

    began = REAL_TIME()
    with planted(mistake):
        for seed in seeds:
            try:
                World(seed, weather=Weather.hard(seed) if hard else None).run()
            except Violation as violation:
                what = str(violation).splitlines()[1][:80]
                return f"seed {seed:3} after {REAL_TIME() - began:5.1f} s: {what}"
    return "not by these seeds (see `world/test_mistakes` and `node/test_traces`)"


sys.exit(main())
