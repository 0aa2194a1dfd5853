"""`python -m world`: live some worlds, replay one, or shrink one that fails.

    python -m world --seeds 0:50           worlds 0 to 49; ends with 1 when one fails
    python -m world --seeds 17 --story     the whole story of one
    python -m world --seeds 17 --shrink    leave out acts and fates while it still fails
    python -m world --forever 3600         new seeds for so many seconds, from the first of --seeds on
    python -m world --mistake NAME ...     with a mistake planted into the engine

PYTHONHASHSEED has to be fixed for a seed to mean the same life; it is set here when it is not.
"""

import argparse
import os
import sys
import time

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
    parser.add_argument("--digests", action="store_true")
    said = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, "-m", "world", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    from world.mistakes import planted
    from world.shrink import shrunk
    from world.weather import Weather
    from world.world import Violation, World

    first, _, last = said.seeds.partition(":")
    seeds = iter(range(int(first), int(last) if last else int(first) + 1))
    if said.forever:
        seeds = iter(range(int(first), sys.maxsize))
    began = REAL_TIME()
    failed: list[int] = []
    count = 0
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
            if said.story:
                print("\n".join(world.chronicle.lines))
    print(f"{count} worlds in {REAL_TIME() - began:.1f} s, failed: {failed}", flush=True)
    return 1 if failed else 0


sys.exit(main())
