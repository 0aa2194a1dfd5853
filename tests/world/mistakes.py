"""Mistakes to plant into the engine: the world must find each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

MISTAKES: dict[str, Callable[[], None]] = {}


@contextmanager
def planted(name: str) -> Iterator[None]:
    if name:
        MISTAKES[name]()
    yield
