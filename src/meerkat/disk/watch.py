"""Chooses the watch for this platform. Whoever uses it sees only `touch.Watch` and its two events."""

import sys

from meerkat.disk.root import Root
from meerkat.disk.scan import Skip
from meerkat.disk.touch import OnEvent, Overflowed, Touched, Watch

__all__ = ["OnEvent", "Overflowed", "Touched", "Watch", "make_watch"]


def make_watch(root: Root, skip: Skip, on_event: OnEvent, *, portable: bool = False) -> Watch:
    """A watch over the shared folder, not yet started.

    Args:
        skip: `skip(path, is_folder)`, also called from other threads; what it names is neither watched nor told.
        on_event: called in the loop's thread.
        portable: use `watchfiles` although there is inotify.
    """
    if sys.platform == "linux" and not portable:
        from meerkat.disk.inotify import InotifyWatch

        return InotifyWatch(root, skip, on_event)
    from meerkat.disk.notify import PortableWatch

    return PortableWatch(root, skip, on_event)
