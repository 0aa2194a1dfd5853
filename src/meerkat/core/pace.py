"""How long to wait before more is taken from somebody: a bucket that fills at a steady rate and spills over at `burst`.

Whoever says more than anybody has to say is read more slowly, and held back by flow control; nothing is dropped. What
cannot be held back (a stranger's call, which would keep its place meanwhile) is refused.
"""


class Pace:
    """`rate` units a second, and `burst` at once after a pause. Times are monotonic seconds."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = float("-inf")

    def spend(self, amount: float, now: float) -> float:
        """Take so much; the seconds to wait before anything more is taken. May run into debt, by one amount."""
        self._fill(now)
        self._left -= amount
        return max(0.0, -self._left / self._rate)

    def afford(self, amount: float, now: float) -> bool:
        """Take so much if there is as much, else nothing: for what is refused rather than held back."""
        self._fill(now)
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def _fill(self, now: float) -> None:
        self._left = min(self._burst, self._left + self._rate * max(0.0, now - self._at))
        self._at = now
