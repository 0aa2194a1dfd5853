"""What can be asked for on the command line."""

import argparse
import os
from pathlib import Path

from .measure import Options
from .teams import PROGRAMS
from .workloads import WORKLOADS

HERE = Path(__file__).resolve().parent


def parse(words: list[str]) -> argparse.Namespace:
    about = "\n".join(f"  {name:<10} {(work.__doc__ or '').strip()}" for name, work in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        prog="meerkat bench",
        description="Measure this build on this machine, with rsync, Unison and Syncthing beside it where installed.",
        epilog=f"workloads (all of them unless named):\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="what to measure")
    parser.add_argument("--runs", type=int, default=3, help="repetitions where they are cheap (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply all sizes and counts (%(default)s)")
    parser.add_argument("--full", action="store_true", help="a million files and 20 GiB, not a tenth of them")
    parser.add_argument(
        "--rivals", default=",".join(PROGRAMS), help="who else, separated by commas, or none (%(default)s)"
    )
    parser.add_argument("--folder", help="work below this folder; the system's temporary one unless given")
    parser.add_argument(
        "--write",
        nargs="?",
        const=HERE,
        type=Path,
        metavar="FOLDER",
        help="write table and plots into this folder, the bench's own unless given; what was measured there before "
        "and not now is kept",
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parsed = parser.parse_args(words)
    unknown = [name for name in parsed.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"there is no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    rivals = [name for name in parsed.rivals.split(",") if name not in ("", "none")]
    strangers = [name for name in rivals if name not in PROGRAMS]
    if strangers:
        parser.error(f"there is no rival {strangers[0]!r}; there are {', '.join(PROGRAMS)}")
    for folder in (parsed.folder, parsed.write):
        if folder is not None and not os.path.isdir(folder):
            parser.error(f"{folder} is not a folder")
    if parsed.runs < 1 or not 0 < parsed.scale <= 100:
        parser.error("--runs is at least 1, --scale lies above 0 and at most at 100")
    parsed.options = Options(parsed.runs, parsed.scale, frozenset(rivals), parsed.full)
    return parsed
