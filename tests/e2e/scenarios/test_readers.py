"""Programs that read a file as fast as they can while another node rewrites it (G3).

By hand: REWRITES; `make storm` takes a thousand.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.pool import Pool

pytestmark = pytest.mark.e2e

REWRITES_DEFAULT = 120
READERS = 3
STEP = 40

READER = """
import json, os, sys
path, stop = sys.argv[1:]
folder, name = os.path.split(path)
counts = {"reads": 0, "stats": 0, "lists": 0, "versions": 0}
wrong, versions = [], set()
while not os.path.exists(stop):
    try:
        with open(path, "rb") as file:
            data = file.read()
        number = int(data[:8])
        if data != data[:8] * (len(data) // 8) or len(data) != 8 * (1000 + number):
            wrong.append(f"a mix or a part: {len(data)} bytes of version {number}")
        versions.add(number)
        counts["reads"] += 1
        if os.stat(path).st_size < 8000:
            wrong.append("short by stat")
        counts["stats"] += 1
        if name not in os.listdir(folder):
            counts["unlisted"] = counts.get("unlisted", 0) + 1
        counts["lists"] += 1
    except (OSError, ValueError) as error:
        wrong.append(repr(error))
counts["versions"] = len(versions)
print(json.dumps({"counts": counts, "wrong": wrong[:20]}))
"""


def test_a_storm_of_readers(pool: Pool, tmp_path: Path) -> None:
    """Every open finds a whole version, every stat a whole size, however often the file is replaced."""
    rewrites = int(os.environ.get("REWRITES", REWRITES_DEFAULT))
    one = pool.start("one")
    two = pool.join("two", one)

    def put(number: int) -> None:
        made = tmp_path / "made"
        made.write_bytes(b"%08d" % number * (1000 + number))
        made.rename(one.path("f"))

    put(0)
    pool.wait_settled()
    stop = tmp_path / "stop"
    words = [sys.executable, "-c", READER, str(two.path("f")), str(stop)]
    readers = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(READERS)]
    try:
        for number in range(1, rewrites + 1):
            put(number)
            if number % STEP == 0:
                pool.wait_equal()
        pool.wait_equal()
    finally:
        stop.touch()
        said = [json.loads(reader.communicate(timeout=60)[0]) for reader in readers]
    print(said)
    assert [each["wrong"] for each in said] == [[]] * READERS
    assert all(each["counts"]["versions"] > 1 for each in said), said
