"""What kind of life a world is to have: drawn from the seed, so that every kind comes up."""

import random
from dataclasses import dataclass

from meerkat.model.limits import HIST_MARKS_MAX


@dataclass(frozen=True)
class Weather:
    """What kind of life it is: from the seed, or said.

    Attributes:
        lonely: one person works at a time.
        interlude: how likely a person acts, or a reader looks, at one step of a node.
        lost: share of the watch's events that never come.
        tight: batches and parts hold a few things only, so that all of them come in several.
        accidents: indexes are lost, or older ones come back.
        forgetful: now and then much time passes at one node, and it forgets tombstones.
        holding: few deletions are many here, and somebody has to agree to them.
        marks: how many superseded contents a version remembers.
    """

    nodes: int
    rounds: int
    seconds: float
    pace_s: float
    fate_s: float
    lonely: bool
    interlude: float
    lost: float
    power: bool
    refusals: bool
    crashes: bool
    fallback: bool
    doubling: float
    tight: bool
    accidents: bool
    forgetful: bool = False
    holding: bool = False
    marks: int = HIST_MARKS_MAX

    @classmethod
    def of(cls, dice: random.Random) -> "Weather":
        fallback = dice.random() < 0.12  # its changes are not of the kind that the model of flushing can take back
        return cls(
            nodes=dice.choice((2, 2, 3, 3, 4)),
            rounds=2,
            seconds=dice.choice((3.0, 6.0, 10.0)),
            pace_s=dice.choice((0.05, 0.15, 0.4)),
            fate_s=dice.choice((0.4, 1.0, 2.5)),
            lonely=dice.random() < 0.25,
            interlude=dice.choice((0.0, 0.01, 0.04)),
            lost=dice.choice((0.0, 0.0, 0.1, 0.5)),
            power=not fallback and dice.random() < 0.4,
            refusals=dice.random() < 0.3,
            crashes=dice.random() < 0.75,
            fallback=fallback,
            doubling=dice.choice((0.0, 0.2)),
            tight=dice.random() < 0.5,
            accidents=(accidents := dice.random() < 0.25),
            # Who loses its index after others have forgotten a deletion brings the file back: nothing remembers it.
            forgetful=dice.random() < 0.35 and not accidents,
            holding=dice.random() < 0.25,
            marks=dice.choice((HIST_MARKS_MAX, HIST_MARKS_MAX, 3)),
        )

    @classmethod
    def hard(cls, seed: int) -> "Weather":
        """One short round in which everything happens, for finding planted mistakes soon."""
        dice = random.Random(f"{seed}/hard")
        accidents = dice.random() < 0.4
        forgetful = dice.random() < 0.5 and not accidents
        return cls(
            nodes=3,
            rounds=1,
            seconds=5.0,
            pace_s=0.12,
            fate_s=0.4,
            lonely=dice.random() < (0.5 if accidents or forgetful else 0.1),  # then it is known what has to be left
            interlude=0.05,
            lost=0.05,
            power=dice.random() < 0.5,
            refusals=dice.random() < 0.25,
            crashes=True,
            fallback=False,
            doubling=0.1,
            tight=True,
            accidents=accidents,
            forgetful=forgetful,
            marks=dice.choice((HIST_MARKS_MAX, 3)),
        )
