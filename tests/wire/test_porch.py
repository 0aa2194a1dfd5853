"""Newcomers take turns, and leave room."""

import asyncio
from contextlib import ExitStack

import pytest

from meerkat.wire import porch as porch_module
from meerkat.wire.porch import Crowded, Porch

ONE, OTHER = b"1" * 32, b"2" * 32


def test_places_are_bounded_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """One invite's bearers fill only its share, all together only theirs, and whoever goes makes room."""
    monkeypatch.setattr(porch_module, "JOINS_PER_INVITE_MAX", 2)
    monkeypatch.setattr(porch_module, "JOINS_AT_ONCE_MAX", 3)

    async def run() -> None:
        porch = Porch()
        with ExitStack() as here:
            for invite in (ONE, ONE, OTHER):
                here.enter_context(porch.place(invite))
            for invite in (ONE, OTHER):
                with pytest.raises(Crowded), porch.place(invite):
                    pass
        for invite in (ONE, OTHER):
            with porch.place(invite):
                pass

    asyncio.run(run())


def test_who_asks_without_end_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One invite's calls are used up, those that cost more sooner; another's are not."""
    monkeypatch.setattr(porch_module, "JOIN_CALLS_BURST", 10.0)
    monkeypatch.setattr(porch_module, "JOIN_CALLS_PER_S", 1e-6)

    async def run() -> None:
        porch = Porch()
        with porch.place(ONE):
            porch.charge(ONE, 8)
        with porch.place(ONE):
            pass
        with pytest.raises(Crowded), porch.place(ONE):
            pass
        with porch.place(OTHER):
            pass

    asyncio.run(run())
