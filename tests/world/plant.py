"""A plugin for pytest: `-p world.plant` runs tests with the mistake that MISTAKE names in the engine.

It is planted before any test module is imported, so that those meet it which take a function by its name.
"""

import os
from contextlib import ExitStack

import node_rooms
import pytest
from world.mistakes import planted

_PLANTED = pytest.StashKey[ExitStack]()


WITHIN_S = 10.0
"""A test that waits for what the mistake keeps from happening waits no longer."""


def pytest_configure(config: pytest.Config) -> None:
    node_rooms.WITHIN_S = WITHIN_S
    stack = config.stash[_PLANTED] = ExitStack()
    stack.enter_context(planted(os.environ["MISTAKE"]))


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_PLANTED].close()
