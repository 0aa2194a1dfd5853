"""The ignore rules in force: the folder's shared `.meerkatignore` and this node's own `.meerkat/ignore`."""

import logging
import os
from pathlib import Path

from meerkat.core.ignore import IGNORE_FILE, Ignore
from meerkat.disk.root import Root
from meerkat.model.limits import IGNORE_FILE_BYTES_MAX
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked

log = logging.getLogger("meerkat.rules")


class Rules:
    """Answers whether a path is ignored. Reading is blocking; asking is safe from any thread.

    Args:
        local: the file of this node's own rules, which need not exist.
    """

    def __init__(self, root: Root, local: Path) -> None:
        self._root = root
        self._local = local
        self._ignore = Ignore((), ())

    def read(self) -> None:
        """Read the files anew."""
        try:
            local = self._local.read_text(encoding="utf-8", errors="replace")
        except OSError:
            local = ""
        self._ignore = Ignore(self._shared().splitlines(), local.splitlines())
        for problem in self._ignore.problems:
            log.warning("ignore rules: %s", problem)

    def _shared(self) -> str:
        try:
            descriptor = self._root.open_read(IGNORE_FILE)
        except (OSError, PathBlocked):
            return ""
        with os.fdopen(descriptor, "rb") as file:
            return file.read(IGNORE_FILE_BYTES_MAX).decode("utf-8", "replace")

    def skip(self, path: RelPath, is_folder: bool) -> bool:
        """True when what is there is ignored."""
        return self._ignore.ignored(path, is_folder)

    def ignored(self, path: RelPath) -> bool:
        """True when whatever could be there is ignored: for paths of which only the name is known."""
        return self._ignore.ignored(path, False) or self._ignore.ignored(path, True)
