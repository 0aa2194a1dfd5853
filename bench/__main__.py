"""`python -m bench [WORKLOAD...]`, which is `meerkat bench`: measure this build on this machine.

A workload that fails is told, the others go on, and the exit code is 1: a figure for work that was not done, or not
done right, is worth nothing.
"""

import os
import signal
import sys
import tempfile
import traceback
from types import FrameType

from .arguments import parse
from .ledger import Ledger, Measured
from .report import as_json, as_text, write_report
from .workloads import WORKLOADS

INTERRUPTED = 130


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(words: list[str]) -> int:
    parsed = parse(words)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)  # so that every process that was started is ended
    os.environ["GRPC_VERBOSITY"] = "NONE"
    tempfile.tempdir = parsed.folder
    now = Ledger()
    failed = []
    for name in parsed.workloads or WORKLOADS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            now.add(Measured.of(name, WORKLOADS[name](parsed.options), parsed.options))
        except Exception:  # the driver's edge: one workload must not take the others' figures with it
            traceback.print_exc()
            failed.append(name)
        if parsed.write and now.works:
            write_report(parsed.write, Ledger.load(parsed.write).joined(now))
    print(as_json(now) if parsed.json else as_text(now))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
