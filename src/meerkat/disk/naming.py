"""How this disk tells names apart, and which names it cannot hold.

To the pool names are bytes. Some disks find `foo` when asked for `Foo` (macOS, Windows, vfat), or a composed é for a
decomposed one, or keep another name than the one that was asked for. There, asking for a path proves nothing about that
path: only the folder's listing says which name stands. So on such a disk a thing counts as being at a path only if it
is listed under that very name (`Root.parent` sees to it); what is merely found under it is somebody else's file, and is
neither taken for this one nor replaced by it. What the disk does is tried once at each start.
"""

import errno
import os
import threading
import time
import unicodedata
from collections import OrderedDict
from typing import Final

from msgspec import Struct

from meerkat.disk import platform
from meerkat.model.limits import LISTINGS_KEPT_MAX, RACY_WINDOW_COARSE_NS

_PROBE: Final = "probe-\u00e9"
"""Lies in the stage for an instant; no stage name has such a letter, so it is never taken for a download."""

_WINDOWS_CHARACTERS: Final = frozenset('<>:"\\|?*') | {chr(code) for code in range(32)}
_WINDOWS_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{device}{number}" for device in ("com", "lpt") for number in "0123456789\u00b9\u00b2\u00b3"}
)


_BY_NO_NAME: Final = "..."
"""For what is found and listed under no name like it, as Windows does with its short names."""


class OtherSpelling(FileNotFoundError):
    """Nothing is listed under the name that was asked for; what the disk finds for it is called `shown`."""

    def __init__(self, name: str, shown: str) -> None:
        super().__init__(errno.ENOENT, f"it is called {shown!r} here", name)
        self.name = name
        self.shown = shown


class Naming(Struct, frozen=True):
    """What a disk does with names.

    Attributes:
        case: names that differ in case alone are one.
        forms: names that differ in Unicode form alone are one.
        rewrites: names are listed in the decomposed form; here they are told in the composed one, as people type them.
        tails: dots and spaces at the end of a name are dropped.
        windows: characters and names of devices that Windows keeps for itself must not be asked for.
    """

    case: bool = False
    forms: bool = False
    rewrites: bool = False
    tails: bool = False
    windows: bool = False

    @property
    def folds(self) -> bool:
        """True when a thing can be found under a name that it does not have."""
        return self.case or self.forms or self.rewrites or self.tails

    def key(self, path: str) -> str:
        """Paths with different keys are never taken for one another; those with one key may be."""
        text = unicodedata.normalize("NFD", path)
        if self.tails:
            text = "/".join(name.rstrip(". ") for name in text.split("/"))
        return unicodedata.normalize("NFC", text.casefold() if self.case else text)

    def listed(self, name: str) -> str:
        """The name by which the pool knows what a folder lists as `name`."""
        return unicodedata.normalize("NFC", name) if self.rewrites else name

    def refusal(self, name: str) -> str:
        """Why nothing called `name` can be made here; empty when it can."""
        if self.rewrites and unicodedata.normalize("NFC", name) != name:
            return "this disk keeps every name in another Unicode form than this one"
        if self.tails and name != name.rstrip(". "):
            return "this disk drops dots and spaces at the end of a name"
        if self.windows:
            for character in name:
                if character in _WINDOWS_CHARACTERS:
                    return f"Windows allows no {character!r} in a name"
            if name.partition(".")[0].rstrip(" ").casefold() in _WINDOWS_DEVICES:
                return "Windows keeps that name for a device"
        return ""


PLAIN: Final = Naming()


def detect(folder: int) -> Naming:
    """Try with a file what the disk of the open folder does with names; `PLAIN` when it lets nothing be tried.

    The file is gone afterwards; one that a crash left is used again.
    """
    windows = os.name == "nt"
    try:
        os.close(os.open(_PROBE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder))
        try:
            forms = _finds(folder, unicodedata.normalize("NFD", _PROBE))
            rewrites = forms and _PROBE not in names_in(folder)
            case, tails = _finds(folder, _PROBE.upper()), _finds(folder, f"{_PROBE}.")
            return Naming(case, forms, rewrites, tails or windows, windows)
        finally:
            os.unlink(_PROBE, dir_fd=folder)
    except OSError:
        return Naming(case=windows, tails=windows, windows=windows)


def _finds(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def names_in(folder: int) -> frozenset[str]:
    """What an open folder lists; the handle may be one that reads nothing, and may be used by others meanwhile.

    Raises:
        OSError: it may not be listed.
    """
    handle = platform.open_beneath(folder, ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return frozenset(os.listdir(handle))
    finally:
        os.close(handle)


class Listings:
    """What folders list, remembered while their times prove that nothing came or went. Safe from several threads."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._kept: OrderedDict[int, tuple[tuple[int, int], frozenset[str]]] = OrderedDict()
        self._lock = threading.Lock()

    def names(self, folder: int) -> frozenset[str]:
        """The names in an open folder, as the pool knows them."""
        seen = os.fstat(folder)
        with self._lock:
            kept = self._kept.get(seen.st_ino)
        times = (seen.st_mtime_ns, seen.st_ctime_ns)
        if kept is not None and kept[0] == times:
            return kept[1]
        old = time.time_ns() - max(times) > RACY_WINDOW_COARSE_NS  # else a later change could look the same
        names = names_in(folder)
        if self._naming.rewrites:
            names = frozenset(map(self._naming.listed, names))
        if old:
            with self._lock:
                self._kept[seen.st_ino] = (times, names)
                while len(self._kept) > LISTINGS_KEPT_MAX:
                    self._kept.popitem(last=False)
        return names

    def spelled(self, folder: int, name: str) -> str | None:
        """The name under which an open folder lists what it finds as `name`; None when it finds nothing."""
        names = self.names(folder)
        if name in names:
            return name
        if not _finds(folder, name):
            return None
        key = self._naming.key(name)
        alike = sorted(each for each in names if self._naming.key(each) == key)
        return alike[0] if alike else _BY_NO_NAME

    def ensure_spelled(self, folder: int, name: str) -> None:
        """Raise `OtherSpelling` when what the open folder finds as `name` is listed under another one."""
        shown = self.spelled(folder, name)
        if shown is not None and shown != name:
            raise OtherSpelling(name, shown)
