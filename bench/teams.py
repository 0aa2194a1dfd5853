"""Who takes part: Meerkat always, each rival where it is installed and not left out. All of a workload's teams live at
once, each in a network of its own, and take turns, so that a busy moment of the machine meets all of them."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import rsync, syncthing, unison
from .measure import MEERKAT, RSYNC, RSYNC_FLUSHED, SYNCTHING, SYNCTHING_DEFAULT, UNISON, Options
from .network import Network, network
from .pool import Pool
from .rsync import Rsync
from .syncthing import DEFAULT_DELAY_S, Syncthing
from .team import Fill, Team
from .unison import Unison

Make = Callable[[Path, Network, int, Fill | None], Team]

MAKERS: dict[str, Make] = {
    MEERKAT: Pool,
    SYNCTHING: Syncthing,
    SYNCTHING_DEFAULT: lambda base, network, count, fill: Syncthing(base, network, count, fill, DEFAULT_DELAY_S),
    UNISON: lambda base, network, count, fill: Unison(base, network, fill),
    RSYNC: Rsync,
    RSYNC_FLUSHED: lambda base, network, count, fill: Rsync(base, network, count, fill, ["--fsync"]),
}
PROGRAMS = {"syncthing": syncthing, "unison": unison, "rsync": rsync}
PROGRAM_OF = {
    SYNCTHING: "syncthing",
    SYNCTHING_DEFAULT: "syncthing",
    UNISON: "unison",
    RSYNC: "rsync",
    RSYNC_FLUSHED: "rsync",
}
_told: set[str] = set()


def versions() -> list[str]:
    """Each rival with its version, or that it is missing."""
    return [
        program.version() if program.is_installed() else f"{name} is not installed"
        for name, program in PROGRAMS.items()
    ]


def takes_part(who: str, options: Options) -> bool:
    """Whether somebody is measured; why not is printed once."""
    program = PROGRAM_OF.get(who)
    if program is None:
        return True
    if program not in options.rivals:
        reason = f"{program} is left out, as asked"
    elif not PROGRAMS[program].is_installed():
        reason = f"{program} is skipped: it is not installed (apt-get install {program})"
    else:
        return True
    if reason not in _told:
        _told.add(reason)
        print(reason, file=sys.stderr, flush=True)
    return False


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder with a short name, because the paths of sockets are bounded."""
    base = Path(tempfile.mkdtemp(prefix="mkb-"))
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def team(who: str, count: int = 2, fill: Fill | None = None) -> Iterator[Team]:
    """One team in a temporary folder and a network of its own."""
    with temporary_folder() as base, network() as own:
        made = MAKERS[who](base, own, count, fill)
        try:
            yield made
        finally:
            made.close()


@contextlib.contextmanager
def teams(options: Options, who: Sequence[str], count: int = 2, fill: Fill | None = None) -> Iterator[list[Team]]:
    """All those that take part, at once."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(team(each, count, fill)) for each in who if takes_part(each, options)]
