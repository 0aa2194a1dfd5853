"""`python -m bench [WORKLOAD...]`: measure this build on this machine.

A workload that fails is told, the others go on, and the exit code is 1: a figure for work that was not done, or not
done right, is worth nothing.
"""

import argparse
import os
import sys
import tempfile
import traceback

from bench.measure import Line, Options
from bench.network import enter_private_network
from bench.report import RESULTS, as_json, as_markdown, as_text
from bench.workloads import WORKLOADS


def arguments(words: list[str]) -> argparse.Namespace:
    about = "\n".join(f"  {name:<10} {work.__doc__}" for name, work in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure this build on this machine, beside others where they are installed.",
        epilog=f"workloads (all of them unless named):\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="what to measure")
    parser.add_argument("--runs", type=int, default=3, help="repetitions where they are cheap (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply all sizes and counts (%(default)s)")
    parser.add_argument("--folder", help="work below this folder; the system's temporary one unless given")
    parser.add_argument("--write", action="store_true", help=f"write the table to bench/{RESULTS.name}")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parsed = parser.parse_args(words)
    unknown = [name for name in parsed.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"there is no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    if parsed.folder is not None and not os.path.isdir(parsed.folder):
        parser.error(f"{parsed.folder} is not a folder")
    if parsed.runs < 1 or not 0 < parsed.scale <= 100:
        parser.error("--runs is at least 1, --scale lies above 0 and at most at 100")
    return parsed


def main(words: list[str]) -> int:
    parsed = arguments(words)
    enter_private_network(words)
    os.environ["GRPC_VERBOSITY"] = "NONE"
    tempfile.tempdir = parsed.folder
    options = Options(parsed.runs, parsed.scale)
    lines: list[Line] = []
    failed = []
    for name in parsed.workloads or WORKLOADS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            lines += WORKLOADS[name](options)
        except Exception:  # the driver's edge: one workload must not take the others' figures with it
            traceback.print_exc()
            failed.append(name)
    print(as_json(lines) if parsed.json else as_text(lines))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    if parsed.write:
        RESULTS.write_text(as_markdown(lines, options), "utf-8")
    return 0


sys.exit(main(sys.argv[1:]))
