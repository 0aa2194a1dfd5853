"""A shared folder on a real disk, and what tests do to it: as a person would, or as a peer's word would have it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meerkat.disk import platform
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is a node's."""
    place = tmp_path / "shared"
    (place / ".meerkat").mkdir(parents=True)
    return place


@pytest.fixture
def root(folder: Path) -> Iterator[Root]:
    held = Root(folder)
    yield held
    held.close()


@pytest.fixture
def stage(root: Root) -> Iterator[Stage]:
    held = Stage(root)
    yield held
    held.close()


@pytest.fixture
def trash(root: Root) -> Iterator[Trash]:
    held = Trash(root)
    yield held
    held.close()


@pytest.fixture(params=["kernel", "fallback", "no links"])
def calls(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test with the kernel's calls, with their fallbacks, and where even hard links are not to be had."""
    how = str(request.param)
    if how != "kernel":
        platform.lacking.update({"renameat2", "openat2", "syncfs", "copy_file_range"})
    if how == "no links":
        platform.lacking.add("link")
    yield how
    platform.lacking.clear()


@pytest.fixture
def unprivileged(folder: Path) -> Iterator[None]:
    """Runs a test as a user whom permission bits bind, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    for place in (folder, folder / ".meerkat"):
        os.chown(place, nobody, nobody)
    for place in (folder.parent, *folder.parent.parents):
        if place.stat().st_uid == 0 and place.stat().st_mode & 0o001 == 0:
            place.chmod(place.stat().st_mode | 0o011)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)
