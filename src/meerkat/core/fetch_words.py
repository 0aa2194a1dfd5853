"""All that can happen to the fetching machine, and all that it can ask for.

Apart from the machine (`core/fetch.py`), so that whoever feeds it reads one page.
"""

from dataclasses import dataclass

from meerkat.model.frame import Piece
from meerkat.model.ids import NodeId


@dataclass(frozen=True, slots=True)
class Want:
    """A piece to fetch. `hints`: members believed to have it. `urgent`: do not let it wait behind bulk."""

    piece: Piece
    hints: tuple[NodeId, ...] = ()
    urgent: bool = False


# ---- what can happen


@dataclass(frozen=True, slots=True)
class PieceWanted:
    """Once more: the same piece may be wanted by several."""

    want: Want


@dataclass(frozen=True, slots=True)
class PiecesWanted:
    """Many at once, which makes fuller asks than one by one."""

    wants: tuple[Want, ...]


@dataclass(frozen=True, slots=True)
class PieceUnwanted:
    """One of those who wanted the piece gave up."""

    piece: Piece


@dataclass(frozen=True, slots=True)
class SourceOpened:
    node: NodeId


@dataclass(frozen=True, slots=True)
class SourceClosed:
    node: NodeId


@dataclass(frozen=True, slots=True)
class SourceProgressed:
    """It may have more by now: what it lacked is forgotten."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class PiecesArrived:
    """They came together and their digests were right: all who wanted them are served, nobody wants them any more."""

    node: NodeId
    ask_id: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class PieceLacked:
    node: NodeId
    ask_id: int
    piece: Piece


@dataclass(frozen=True, slots=True)
class PiecesPointed:
    """The source has these pieces, and would rather have each asked of the one that it has just given it to."""

    node: NodeId
    ask_id: int
    pieces: tuple[tuple[Piece, NodeId], ...]


@dataclass(frozen=True, slots=True)
class PieceSpoiled:
    """The piece came with other bytes than its digest promises; it is still wanted, but not from there.

    For a recipe, whose parts have no digests of their own, it may come after `PiecesArrived`, for every part; those
    are then wanted anew.
    """

    node: NodeId
    piece: Piece


@dataclass(frozen=True, slots=True)
class Tick:
    """The time of `wake_at` has come."""


Event = (
    PieceWanted
    | PiecesWanted
    | PieceUnwanted
    | SourceOpened
    | SourceClosed
    | SourceProgressed
    | PiecesArrived
    | PieceLacked
    | PiecesPointed
    | PieceSpoiled
    | Tick
)


# ---- what can be asked for


@dataclass(frozen=True, slots=True)
class SendAsk:
    node: NodeId
    ask_id: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class CancelAsk:
    """What is left of the ask is not needed from there any more."""

    node: NodeId
    ask_id: int


@dataclass(frozen=True, slots=True)
class ReportStuck:
    """Sources are open, and none has the piece. Said once; again after something has changed, and to a new want."""

    piece: Piece


Command = SendAsk | CancelAsk | ReportStuck
