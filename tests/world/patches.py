"""Clocks, dice, limits and the log of the whole process, while a world lives in it."""

import logging
import os
import random
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from e2e import torture
from world.loop import LIFE, Died

from meerkat.core import hold, merge, ranges
from meerkat.disk import commit, platform, scan
from meerkat.node import inward, outward, pull
from meerkat.node import node as node_module
from meerkat.wire import identity as identity_module
from meerkat.wire import rosterops

if TYPE_CHECKING:
    from world.world import World


@contextmanager
def installed(world: "World") -> Iterator[None]:
    """Clocks and dice of the whole process are the world's; logging goes into the chronicle."""
    dice = random.Random(f"{world.seed}/secrets")
    undo: list[tuple[Any, str, Any]] = []

    def patch(owner: Any, name: str, value: Any) -> None:
        undo.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    def sign(key: ec.EllipticCurvePrivateKey, body: bytes) -> bytes:
        return key.sign(body, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    patch(secrets, "randbits", dice.getrandbits)
    patch(secrets, "token_bytes", dice.randbytes)
    patch(secrets, "token_hex", lambda count: dice.randbytes(count).hex())
    patch(time, "time_ns", world.now_ns)
    patch(torture, "time", SimpleNamespace(monotonic=world.loop.time, sleep=lambda seconds: None))
    patch(identity_module, "sign", sign)
    patch(rosterops, "sign", sign)
    if not fine_times(world.base):  # then an equal lstat proves nothing here, where years pass in a moment
        for module in (scan, commit):
            patch(module, "RACY_WINDOW_NS", 1 << 62)
    patch(merge, "HIST_MARKS_MAX", world.weather.marks)
    if world.weather.holding:
        patch(hold, "HOLD_FILES_MIN", 4)
        patch(hold, "HOLD_EMPTIED_FILES_MIN", 2)
    if world.weather.tight:
        patch(pull, "ENTRIES_PER_PART_MAX", 2)
        patch(pull, "ENTRIES_ASIDE_MIN", 3)
        patch(pull, "RANGES_WORTH", 0)
        patch(ranges, "RANGE_PATHS", 4)
        patch(ranges, "RANGE_PATHS_FINE", 2)
        patch(inward, "PLAN_BATCH_MAX", 3)
        patch(inward, "COMMIT_BATCH_MAX", 2)
        patch(outward, "SCAN_BATCH_PATHS_MAX", 3)
    handler = _Listener(world)
    logger = logging.getLogger("meerkat")
    patch(node_module, "start_logging", lambda path, level: logging.NullHandler())
    patch(node_module, "stop_logging", lambda handler: None)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    lacking = set(platform.lacking)
    platform.lacking.clear()
    if world.weather.fallback:
        platform.lacking.update(("renameat2", "openat2", "syncfs", "copy_file_range"))
    state = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(world.base / "state")
    world.door.graves = world.base / "graves"
    world.door.graves.mkdir()
    world.door.power = world.weather.power
    world.door.install()
    try:
        yield
    finally:
        world.door.uninstall()
        os.environ.pop("XDG_STATE_HOME")
        if state is not None:
            os.environ["XDG_STATE_HOME"] = state
        platform.lacking.clear()
        platform.lacking.update(lacking)
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        while undo:
            owner, name, value = undo.pop()
            setattr(owner, name, value)


class _Listener(logging.Handler):
    """What nodes log goes into the chronicle; an exception that they did not expect is a violation."""

    def __init__(self, world: "World") -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        life = LIFE.get()
        said = record.getMessage().replace(str(self._world.base), "")  # which has another name in each run
        self._world.chronicle.note(f"  {life}| {said}")
        if record.exc_info and record.exc_info[1] is not None and not (life is not None and life.dead):
            error = record.exc_info[1]
            if not isinstance(error, Died):
                text = "".join(traceback.format_exception(error))
                self._world.violations.append(f"{life} {record.getMessage()}: {text}")


def fast_folder() -> Path:
    """Where worlds live: in memory, if the system offers that."""
    memory = Path("/dev/shm")
    usual = memory if sys.platform == "linux" and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return Path(os.environ.get("MEERKAT_WORLD_DIR", usual))


def fine_times(folder: Path) -> bool:
    """Whether each change that follows a look gives a file another ctime (Linux since 6.13; before, every few ms)."""
    seen = set()
    with tempfile.NamedTemporaryFile(dir=folder) as file:  # a name of its own: several processes ask at once
        for number in range(50):
            Path(file.name).write_text(str(number))
            seen.add(Path(file.name).stat().st_ctime_ns)
    return len(seen) == 50
