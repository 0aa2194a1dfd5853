"""Where newcomers wait: how many are heard at once, and how often one invite may ask.

Invariant: whatever bearers of invites do (ask without end, ask for everything, never read the answer), the other places
for calls stay with the members, and one invite's bearers leave room for those of another. The invites that are counted
are the roster's, so what is remembered is bounded by it.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from meerkat.core.pace import Pace
from meerkat.model.limits import JOIN_CALLS_BURST, JOIN_CALLS_PER_S, JOINS_AT_ONCE_MAX, JOINS_PER_INVITE_MAX


class Crowded(Exception):
    """There is no room for this call now."""


class Porch:
    """Invites are named by the fingerprint of their certificate."""

    def __init__(self) -> None:
        self._here: Counter[bytes] = Counter()
        self._paces: dict[bytes, Pace] = {}

    @contextmanager
    def place(self, invite: bytes) -> Iterator[None]:
        """A call is answered within.

        Raises:
            Crowded: too many are, or the invite has asked too often.
        """
        if self._here.total() >= JOINS_AT_ONCE_MAX or self._here[invite] >= JOINS_PER_INVITE_MAX:
            raise Crowded
        self.charge(invite, 1)
        self._here[invite] += 1
        try:
            yield
        finally:
            self._here[invite] -= 1
            if not self._here[invite]:
                del self._here[invite]

    def charge(self, invite: bytes, cost: float) -> None:
        """Count what was asked for.

        Raises:
            Crowded: the invite has asked for too much lately.
        """
        pace = self._paces.get(invite)
        if pace is None:
            pace = self._paces[invite] = Pace(JOIN_CALLS_PER_S, JOIN_CALLS_BURST)
        if not pace.afford(cost, asyncio.get_running_loop().time()):
            raise Crowded
