"""What a person asked of a node when starting it.

`None` means "not said": the engine then takes what `node.toml` keeps from the last start, else its own default. So a
flag beats the environment, the environment beats the file, and the file beats the default.
"""

from msgspec import Struct

from meerkat.model.limits import RESCAN_INTERVAL_S


class Settings(Struct, frozen=True):
    """One start of one node.

    Attributes:
        directory: the folder, as an absolute path.
        listen: HOST:PORT to accept members on; port 0 picks a free one, which is kept for the next start.
        advertise: addresses (HOST:PORT) to tell other members, when the ones found are not those they can dial.
        name: how people call this node.
        invite: a join code, when this start is to join a pool.
        via: HOST:PORT of the member to join through, instead of the addresses in the code.
        merge: join into a folder that holds files without asking.
        dry_run: make the plan of a join, call `on_plan` with it, and change nothing.
        web: HOST:PORT of the dashboard, "off", or None for the default.
        discovery: find members in the local network; None: where that can be had, and others can dial this node.
        log_level: debug, info, warning or error.
        hold: False: also mass deletions are told to the pool at once.
        rescan_interval_s: seconds between full scans, for whatever the watcher missed.
    """

    directory: str
    listen: str | None = None
    advertise: tuple[str, ...] = ()
    name: str | None = None
    invite: str | None = None
    via: str | None = None
    merge: bool = False
    dry_run: bool = False
    web: str | None = None
    discovery: bool | None = None
    log_level: str = "info"
    hold: bool | None = None
    rescan_interval_s: float = RESCAN_INTERVAL_S
