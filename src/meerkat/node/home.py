"""The `.meerkat` folder: what makes a folder a node. Made, opened, locked and configured here.

Every way in which a folder can be wrong for a node is a `Fault` with a next step, raised before anything is written.
"""

import fcntl
import json
import math
import os
import re
import shutil
import socket
import tomllib
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from msgspec import Struct, field

from meerkat.model.config import Settings
from meerkat.model.fault import Exit, Fault
from meerkat.model.path import MARKER

FOLDERS = ("identity", "roster", "stage", "trash", "log")


class Config(Struct):
    """What `node.toml` keeps between starts."""

    name: str = ""
    pool: str = ""
    pool_name: str = ""
    listen: str = ""
    advertise: list[str] = field(default_factory=list)
    others: dict[str, object] = field(default_factory=dict)


class Home:
    """The metadata folder of one node, locked while this object is open.

    Attributes:
        asked_to_join: a member may have admitted this identity, whatever was heard of it: it must be kept, so that
            asking again is no second member.
    """

    def __init__(self, folder: Path, lock: IO[str], config: Config) -> None:
        self.folder = folder
        self.path = folder / MARKER
        self.config = config
        self.asked_to_join = False
        self._lock = lock

    @property
    def index(self) -> Path:
        return self.path / "index.db"

    @property
    def identity(self) -> Path:
        return self.path / "identity"

    def identity_in(self, state: str) -> Path:
        """Where another identity lies on its way to `identity` (see `node/succession`)."""
        return self.path / f"identity.{state}"

    @property
    def roster(self) -> Path:
        return self.path / "roster"

    @property
    def log(self) -> Path:
        return self.path / "log" / "meerkat.log"

    @property
    def ignore(self) -> Path:
        return self.path / "ignore"

    def holding(self, settings: Settings) -> bool:
        """Whether mass deletions wait for a person."""
        return self.config.others.get("hold", "on") not in (False, "off") if settings.hold is None else settings.hold

    def discovering(self, settings: Settings) -> bool | None:
        """Whether members are looked for in the local network; None: nobody has said."""
        if settings.discovery is not None:
            return settings.discovery
        said = self.config.others.get("discovery")
        return None if said is None else said not in (False, "off")

    def save(self) -> None:
        """Write `node.toml` (whole, by rename)."""
        config = self.config
        values: dict[str, object] = {
            "name": config.name,
            "pool": config.pool,
            "pool_name": config.pool_name,
            "listen": config.listen,
            "advertise": config.advertise,
            **config.others,
        }
        # JSON's strings, numbers, booleans and lists of strings are TOML's too
        text = "".join(f"{_key(key)} = {json.dumps(value)}\n" for key, value in values.items())
        fresh = self.path / "node.toml.new"
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path / "node.toml")

    def forget(self) -> None:
        """Stop being a node: key, roster, index and configuration go; trash and log stay, they may be wanted."""
        (self.path / "node.toml").unlink(missing_ok=True)
        for name in ("identity", "identity.new", "identity.made", "identity.next", "identity.old", "roster", "stage"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for each in self.path.glob("index.db*"):
            each.unlink(missing_ok=True)

    def close(self) -> None:
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_node(folder: Path) -> bool:
    """True when the folder has been made a node (completely: its configuration is written last)."""
    return (folder / MARKER / "node.toml").is_file()


def check_folder(folder: Path) -> None:
    """Raise a `Fault` unless a node may live in this folder.

    Raises:
        Fault: folder_missing, not_a_folder, nested (8), not_writable.
    """
    if not folder.exists():
        raise Fault(
            "folder_missing", f"there is no folder {folder}", hint=f"mkdir -p '{folder}', or check the spelling"
        )
    if not folder.is_dir():
        raise Fault("not_a_folder", f"{folder} is not a folder", hint="name a folder to share")
    for above in folder.parents:
        if is_node(above):
            raise Fault(
                "nested",
                f"{folder} is inside {above}, which is already shared",
                hint="choose a folder outside it; a shared folder cannot hold another",
                exit_code=Exit.REFUSED,
            )
    if not os.access(folder, os.W_OK | os.X_OK | os.R_OK):
        raise Fault(
            "not_writable",
            f"{folder} cannot be written by this user",
            hint=f"check its owner and bits: ls -ld '{folder}'",
        )


def open_home(folder: Path) -> Home:
    """Open and lock the folder's `.meerkat`, making it when it is not there yet.

    Raises:
        Fault: already_running, not_writable, config_damaged, or what `check_folder` raises.
    """
    check_folder(folder)
    path = folder / MARKER
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        for name in FOLDERS:
            (path / name).mkdir(mode=0o700, exist_ok=True)
        lock = open(path / "lock", "a+")  # noqa: SIM115  # held as long as the node runs
    except OSError as error:
        raise Fault(
            "not_writable", f"cannot write into {folder}", cause=error.strerror or str(error), hint=f"ls -ld '{folder}'"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise Fault(
            "already_running",
            f"a node already runs on {folder}" + (f" (process {owner})" if owner else ""),
            hint=f"meerkat status '{folder}', or stop it: meerkat down '{folder}'",
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    try:
        config = _read_config(path / "node.toml")
    except Fault:
        lock.close()
        raise
    return Home(folder, lock, config)


def _read_config(path: Path) -> Config:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise Fault(
            "config_damaged", f"cannot read {path}", cause=str(error), hint="correct or remove that line"
        ) from error
    config = Config()
    for key in ("name", "pool", "pool_name", "listen"):
        value = values.pop(key, "")
        if not isinstance(value, str):
            raise Fault("config_damaged", f"{key} in {path} is not a string", hint=f'write {key} = "…"')
        setattr(config, key, value)
    advertise = values.pop("advertise", [])
    if not isinstance(advertise, list) or not all(isinstance(each, str) for each in advertise):
        raise Fault(
            "config_damaged", f"advertise in {path} is not a list of strings", hint='write advertise = ["HOST:PORT"]'
        )
    config.advertise = advertise
    for key, value in values.items():
        if not _can_be_kept(value):
            raise Fault(
                "config_damaged",
                f"{key} in {path} is neither text, number, yes or no, nor a list of these",
                hint="correct or remove that line",
            )
    config.others = values
    return config


def _key(key: str) -> str:
    """A TOML key as it must be spelt."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _can_be_kept(value: object) -> bool:
    """True for what `Home.save` writes as it was read."""
    if isinstance(value, list):
        return all(isinstance(each, str | int | bool) for each in value)
    return isinstance(value, str | int | bool) or (isinstance(value, float) and math.isfinite(value))


def default_name() -> str:
    """How a node is called when nobody says: the host's short name."""
    return socket.gethostname().split(".")[0] or "node"
