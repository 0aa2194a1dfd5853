"""A generator that is driven from worker threads, one page at a time, by a task that may be cancelled in between.

The thread of a cancelled task goes on: closing waits until it has its page, for a generator cannot be closed while it
runs.
"""

import threading
from collections.abc import Generator
from typing import Generic, TypeVar

T = TypeVar("T")


class Pages(Generic[T]):
    """Takes pages from a generator, from any thread."""

    def __init__(self, made: Generator[T, None, None]) -> None:
        self._made = made
        self._turn = threading.Lock()

    def next(self) -> T | None:
        """The next page; None after the last."""
        with self._turn:
            return next(self._made, None)

    def close(self) -> None:
        """Let the generator end, whatever it holds."""
        with self._turn:
            self._made.close()
