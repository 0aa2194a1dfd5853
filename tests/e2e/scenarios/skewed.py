"""Runs Meerkat with a clock that is wrong: `python skewed.py SECONDS WORDS...`.

What the program itself reads from the wall clock is moved; the times that the kernel gives files are not, so a test
moves those of its own files too. The monotonic clock stays, as it does on a machine whose date somebody has set.
"""

import runpy
import sys
import time

offset_s = int(sys.argv.pop(1))
true_time, true_time_ns = time.time, time.time_ns  # noqa: TID251  # the clock to be moved
time.time = lambda: true_time() + offset_s  # noqa: TID251
time.time_ns = lambda: true_time_ns() + offset_s * 1_000_000_000
runpy.run_module("meerkat", run_name="__main__", alter_sys=True)
