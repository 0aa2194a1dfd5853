"""Fetching: playbooks that read like scripts, and a swarm of unreliable sources."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meerkat.core.fetch import (
    CancelAsk,
    Command,
    Event,
    Fetch,
    PieceLacked,
    PiecesArrived,
    PieceSpoiled,
    PiecesPointed,
    PiecesWanted,
    PieceUnwanted,
    PieceWanted,
    ReportStuck,
    SendAsk,
    SourceClosed,
    SourceOpened,
    SourceProgressed,
    Tick,
    Want,
)
from meerkat.model.frame import Piece
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import (
    ASK_BYTES_MAX,
    ASKS_PIPELINED_MAX,
    CHUNK_TIMEOUT_S,
    DRY_MIN_S,
    KIB,
    MIB,
    NODE_INFLIGHT_BYTES_MAX,
    PEER_INFLIGHT_BYTES_MAX,
    PIECES_PER_ASK_MAX,
)

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def piece(number: int, length: int = 64 * KIB, of: int = 0) -> Piece:
    return Piece(Digest(bytes([of]) * 32), number * MIB, length, Digest(number.to_bytes(32, "big")))


def pieces(count: int, length: int = 64 * KIB, of: int = 0) -> list[Piece]:
    return [piece(number, length, of) for number in range(count)]


def wanted(some: list[Piece], hints: tuple[NodeId, ...] = (), urgent: bool = False) -> PiecesWanted:
    return PiecesWanted(tuple(Want(one, hints, urgent) for one in some))


class Play:
    """A machine and the asks that are under way, as the other side sees them."""

    def __init__(self, *nodes: NodeId, seed: int = 1) -> None:
        self.fetch = Fetch(random.Random(seed))
        self.now = 0.0
        self.asks: dict[int, SendAsk] = {}
        self.stuck: list[Piece] = []
        self.cancelled: list[int] = []
        for node in nodes:
            self.do(SourceOpened(node))

    def do(self, event: Event, at: float | None = None) -> list[Command]:
        if at is not None:
            self.now = at
        commands = self.fetch.handle(event, self.now)
        for command in commands:
            match command:
                case SendAsk(_, ask_id, asked):
                    assert asked
                    assert len(asked) <= PIECES_PER_ASK_MAX
                    assert sum(one.length for one in asked) <= ASK_BYTES_MAX
                    assert len(set(asked)) == len(asked)
                    assert ask_id not in self.asks
                    self.asks[ask_id] = command
                case CancelAsk(node, ask_id):
                    assert self.asks.pop(ask_id).node == node
                    self.cancelled.append(ask_id)
                case ReportStuck(one):
                    self.stuck.append(one)
        return commands

    def asked(self, node: NodeId) -> list[Piece]:
        return [one for ask in self.asks.values() if ask.node == node for one in ask.pieces]

    def answer(self, ask: SendAsk, *, lacking: bool = False) -> None:
        del self.asks[ask.ask_id]
        for one in ask.pieces:
            self.do(PieceLacked(ask.node, ask.ask_id, one) if lacking else PiecesArrived(ask.node, ask.ask_id, (one,)))

    def finish(self) -> Counter[NodeId]:
        """Answer everything until nothing is asked any more; tells who gave how many pieces."""
        served: Counter[NodeId] = Counter()
        while self.asks:
            ask = next(iter(self.asks.values()))
            served[ask.node] += len(ask.pieces)
            self.answer(ask)
        return served


def test_a_piece_is_asked_and_arrives() -> None:
    """One want, one ask, one answer, and the machine is empty."""
    play = Play(A)
    assert play.do(PieceWanted(Want(piece(1)))) == [SendAsk(A, 1, (piece(1),))]
    assert play.do(PiecesArrived(A, 1, (piece(1),))) == []
    assert len(play.fetch) == 0
    assert play.fetch.inflight_bytes == 0
    assert play.fetch.wake_at() is None


def test_without_a_source_a_want_is_stuck() -> None:
    """Whoever wants something hears at once that nobody is there; the first source is asked for it."""
    play = Play()
    assert play.do(PieceWanted(Want(piece(1)))) == [ReportStuck(piece(1))]
    assert play.do(SourceOpened(A)) == [SendAsk(A, 1, (piece(1),))]


def test_the_last_source_leaves_nobody_waiting() -> None:
    """What was asked of it and what was about to be are both stuck, and both are asked for when one is there again."""
    play = Play(A)
    some = pieces(400)
    play.do(wanted(some))
    assert 0 < len(play.asked(A)) < len(some)
    play.do(SourceClosed(A))
    assert len(play.stuck) == len(some)
    assert set(play.stuck) == set(some)
    play.asks.clear()
    play.do(SourceOpened(B))
    assert play.finish() == {B: len(some)}


def test_small_pieces_travel_together() -> None:
    """A thousand small files make a few asks, not a thousand, even when they are wanted one by one."""
    play = Play(A)
    for one in pieces(1000, KIB):
        play.do(PieceWanted(Want(one, urgent=True)))
    served = 0
    asks = 0
    while play.asks:
        ask = next(iter(play.asks.values()))
        asks += 1
        served += len(ask.pieces)
        play.answer(ask)
    assert served == 1000
    assert asks <= 10


def test_a_lone_source_is_pipelined_and_bounded() -> None:
    """Two asks at first, more while it answers fast, never beyond the bound."""
    play = Play(A)
    play.do(wanted(pieces(2000)))
    assert len(play.asks) == 2
    most = 0
    while play.asks:
        play.now += 0.01
        play.answer(next(iter(play.asks.values())))
        most = max(most, play.fetch.inflight_bytes)
        assert most <= PEER_INFLIGHT_BYTES_MAX
        assert len(play.asks) <= ASKS_PIPELINED_MAX
    assert most >= 8 * MIB
    assert len(play.fetch) == 0


def test_a_slow_source_holds_little() -> None:
    """Answers that take long shrink what is asked at once, so a fast source does more of the work."""
    play = Play(A, B)
    play.do(wanted(pieces(4000)))
    served: Counter[NodeId] = Counter()
    ready = {A: 0.0, B: 0.0}  # when each source has sent its last
    while play.asks:
        rate = {A: 100 * MIB, B: MIB / 8}
        ends = {}
        for ask in play.asks.values():
            if ask.node not in ends:
                ends[ask.node] = (max(ready[ask.node], play.now) + ASK_BYTES_MAX / rate[ask.node], ask)
        when, ask = min(ends.values(), key=lambda end: end[0])
        play.now = ready[ask.node] = when
        served[ask.node] += len(ask.pieces)
        play.answer(ask)
    assert served[B] <= 100
    assert served[A] + served[B] == 4000


def test_the_window_shrinks_when_answers_become_slow() -> None:
    """A source that was fast and gets slow is asked for less at once."""
    play = Play(A)
    play.do(wanted(pieces(4000)))
    for _ in range(100):
        play.answer(next(iter(play.asks.values())))
    before = play.fetch.inflight_bytes
    assert before > 10 * MIB
    for _ in range(3):
        play.now += 9.0
        play.answer(next(iter(play.asks.values())))
    assert play.fetch.inflight_bytes == before - 3 * MIB


def test_work_is_spread() -> None:
    """Equal sources do about equal work."""
    play = Play(A, B, C)
    play.do(wanted(pieces(3000)))
    served = play.finish()
    assert sum(served.values()) == 3000
    assert min(served.values()) > 700


def test_the_whole_node_is_bounded() -> None:
    """However many sources there are, the bytes in flight stay within the node's bound."""
    play = Play(*[NodeId(f"n{number}") for number in range(64)])
    play.do(wanted(pieces(8000)))
    assert NODE_INFLIGHT_BYTES_MAX - 4 * MIB <= play.fetch.inflight_bytes <= NODE_INFLIGHT_BYTES_MAX
    play.do(wanted(pieces(2000, of=1), urgent=True))
    assert play.fetch.inflight_bytes <= NODE_INFLIGHT_BYTES_MAX


def test_urgent_goes_before_bulk() -> None:
    """A small edit is asked for at once although a large transfer has filled the pipeline."""
    play = Play(A)
    play.do(wanted(pieces(1000)))
    for _ in range(100):
        play.answer(next(iter(play.asks.values())))
        if play.fetch.inflight_bytes > 10 * MIB:
            break
    urgent = piece(5000, KIB)
    assert SendAsk(A, max(play.asks) + 1, (urgent,)) in play.do(PieceWanted(Want(urgent, urgent=True)))


def test_a_bulk_piece_becomes_urgent() -> None:
    """Wanted again as urgent, a piece that waits among bulk is asked for at once."""
    play = Play(A)
    play.do(wanted(pieces(1000)))
    late = next(one for one in pieces(1000) if one not in play.asked(A))
    play.do(PieceWanted(Want(late, urgent=True)))
    assert late in play.asked(A)
    play.finish()
    assert len(play.fetch) == 0


def test_bulk_goes_in_random_runs() -> None:
    """Two nodes fetch the same file in different orders, in runs of neighbours, so they can serve each other."""
    firsts = set()
    for seed in range(8):
        play = Play(seed=seed)
        play.do(wanted(pieces(1600)))
        play.do(SourceOpened(A))
        ask = play.asks[1]
        offsets = [one.offset // MIB for one in ask.pieces]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
        firsts.add(offsets[0])
    assert len(firsts) > 4


def test_hints_are_followed() -> None:
    """While the source that a hint names has room, the others are not bothered."""
    play = Play(A, B, C)
    play.do(wanted(pieces(20, 1000), hints=(B,)))
    assert set(play.asked(B)) == set(pieces(20, 1000))


def test_others_help_when_the_hinted_is_full() -> None:
    """A hint is a preference: beyond what the hinted source can hold, others are tried."""
    play = Play(A, B)
    play.do(wanted(pieces(500), hints=(B,)))
    assert len(play.asked(A)) > 0
    assert len(play.asked(B)) > 0


def test_what_one_lacks_another_is_asked() -> None:
    """A lack moves the piece to another source and is remembered."""
    play = Play(A, B)
    play.do(PieceWanted(Want(piece(1), hints=(A,))))
    play.answer(play.asks[1], lacking=True)
    assert play.asked(B) == [piece(1)]
    play.do(SourceClosed(B))
    play.asks.clear()
    play.do(Tick(), at=DRY_MIN_S)
    assert play.asks == {}
    assert play.stuck == [piece(1)]


def test_stuck_is_told_once_until_something_changes() -> None:
    """When every open source lacks the piece it is reported once, and asked again after progress."""
    play = Play(A, B)
    play.do(PieceWanted(Want(piece(1))))
    while play.asks:
        play.answer(next(iter(play.asks.values())), lacking=True)
    assert play.stuck == [piece(1)]
    play.do(Tick(), at=100.0)
    assert play.stuck == [piece(1)]
    play.do(PieceWanted(Want(piece(1))))
    assert play.stuck == [piece(1), piece(1)], "one who wants it now has not heard of it"
    play.stuck.pop()
    play.do(SourceProgressed(B))
    assert play.asked(B) == [piece(1)]
    play.answer(next(iter(play.asks.values())), lacking=True)
    assert play.stuck == [piece(1), piece(1)]
    play.do(SourceOpened(C))
    assert play.asked(C) == [piece(1)]
    play.finish()
    assert len(play.fetch) == 0


def test_a_source_that_lacks_everything_is_left_alone() -> None:
    """It is not asked for each of thousands of pieces in turn; the waits double; progress ends them."""
    play = Play(A)
    play.do(wanted(pieces(5000, KIB)))
    asked = len(play.asked(A))
    assert asked < 4000
    for wait in (DRY_MIN_S, 2 * DRY_MIN_S):
        for ask in list(play.asks.values()):
            play.answer(ask, lacking=True)
        assert play.asks == {}
        assert play.fetch.wake_at() == play.now + wait
        play.do(Tick(), at=play.now + wait)
    for ask in list(play.asks.values()):
        play.answer(ask, lacking=True)
    play.do(SourceProgressed(A))
    assert play.asks
    assert play.finish() == Counter({A: 5000})


def test_a_silent_source_loses_its_asks() -> None:
    """After the timeout the pieces go elsewhere; what comes late is welcome, the duplicate does no harm."""
    play = Play(A)
    play.do(wanted(pieces(3)))
    play.do(SourceOpened(B), at=1.0)
    assert play.fetch.wake_at() == CHUNK_TIMEOUT_S
    play.do(Tick(), at=CHUNK_TIMEOUT_S)
    assert play.cancelled == [1]
    assert set(play.asked(B)) == set(pieces(3))
    play.do(PiecesArrived(A, 1, (piece(0),)))
    assert len(play.fetch) == 2
    play.finish()
    assert len(play.fetch) == 0
    assert play.fetch.inflight_bytes == 0


def test_a_lone_slow_source_gets_more_patience() -> None:
    """Asked again because nobody else is there, with a longer wait each time; progress counts as an answer."""
    play = Play(A)
    play.do(wanted(pieces(2)))
    play.do(Tick(), at=CHUNK_TIMEOUT_S)
    assert play.asked(A) == pieces(2)
    assert play.fetch.wake_at() == 3 * CHUNK_TIMEOUT_S
    play.do(PiecesArrived(A, 2, (piece(0),)), at=2.5 * CHUNK_TIMEOUT_S)
    assert play.fetch.wake_at() == 4.5 * CHUNK_TIMEOUT_S
    play.do(Tick(), at=4 * CHUNK_TIMEOUT_S)
    assert play.cancelled == [1]


def test_a_slow_source_comes_last() -> None:
    """After a timeout new work goes to the others."""
    play = Play(A, B)
    play.do(PieceWanted(Want(piece(1), hints=(A,))))
    play.do(Tick(), at=CHUNK_TIMEOUT_S)
    play.finish()
    play.do(wanted(pieces(10)))
    assert play.asked(A) == []
    assert len(play.asked(B)) == 10


def test_a_spoiled_piece_is_not_asked_there_again() -> None:
    """The liar is not asked for that piece again, not even after a reconnect, and comes last for others."""
    play = Play(A)
    play.do(PieceWanted(Want(piece(1))))
    play.do(PieceSpoiled(A, piece(1)))
    assert play.stuck == [piece(1)]
    play.do(SourceClosed(A))
    play.asks.clear()
    play.do(SourceOpened(A))
    assert play.asks == {}
    play.do(SourceOpened(B))
    assert play.asked(B) == [piece(1)]
    play.do(PieceWanted(Want(piece(2))))
    assert play.asked(A) == []
    play.finish()
    assert len(play.fetch) == 0


def test_a_recipe_found_spoiled_late_is_asked_elsewhere() -> None:
    """Told after the arrival (the whole did not check), the parts wanted anew avoid the liar."""
    play = Play(A, B)
    part = Piece(Digest(b"r" * 32), 0, 1000, recipe=True)
    play.do(PieceWanted(Want(part, hints=(A,))))
    play.answer(play.asks[1])
    play.do(PieceSpoiled(A, part))
    play.do(PieceWanted(Want(part, hints=(A,))))
    assert play.asked(B) == [part]


def test_wanted_twice_is_asked_once() -> None:
    """Two who want the same piece cost one question, and one who gives up does not take it from the other."""
    play = Play(A)
    play.do(PieceWanted(Want(piece(1))))
    play.do(PieceWanted(Want(piece(1))))
    assert play.asked(A) == [piece(1)]
    play.do(PieceUnwanted(piece(1)))
    assert play.cancelled == []
    play.do(PieceUnwanted(piece(1)))
    assert play.cancelled == [1]
    assert len(play.fetch) == 0
    assert play.fetch.inflight_bytes == 0
    assert play.do(PieceUnwanted(piece(1))) == []


def test_an_ask_is_cancelled_only_when_nothing_of_it_is_wanted() -> None:
    """The rest of a half-unwanted ask still comes."""
    play = Play(A)
    play.do(wanted(pieces(2)))
    play.do(PieceUnwanted(piece(0)))
    assert play.cancelled == []
    play.do(PiecesArrived(A, 1, (piece(1),)))
    assert play.cancelled == [1]
    assert play.fetch.inflight_bytes == 0


def test_unwanted_pieces_are_not_asked() -> None:
    """What is given up while it waits is never asked for, and leaves nothing behind."""
    play = Play()
    some = pieces(5000)
    play.do(wanted(some))
    for one in some[1:]:
        play.do(PieceUnwanted(one))
    play.do(SourceOpened(A))
    assert play.asked(A) == [some[0]]


def test_a_closed_source_gives_its_work_back() -> None:
    """What was asked of it and what waited for it goes to those who are left, or waits for the next."""
    play = Play(A, B)
    play.do(wanted(pieces(500), hints=(A,)))
    play.do(SourceClosed(A))
    play.asks = {ask_id: ask for ask_id, ask in play.asks.items() if ask.node == B}
    assert play.finish() == Counter({B: 500})
    play.do(wanted(pieces(3, of=1)))
    play.do(SourceClosed(B))
    play.asks.clear()
    assert play.fetch.inflight_bytes == 0
    play.do(SourceOpened(C))
    assert play.finish() == Counter({C: 3})


def test_strangers_and_repetitions_do_no_harm() -> None:
    """Answers to unknown asks, from unknown nodes, of unknown pieces, and everything twice."""
    play = Play(A)
    play.do(wanted(pieces(2)))
    for event in (
        PiecesArrived(B, 7, (piece(9),)),
        PieceLacked(B, 7, piece(0)),
        PieceLacked(A, 9, piece(9)),
        PieceSpoiled(B, piece(9)),
        SourceClosed(B),
        SourceProgressed(B),
        PieceUnwanted(piece(9)),
        PiecesArrived(A, 1, (piece(0),)),
        PiecesArrived(A, 1, (piece(0),)),
        PieceLacked(A, 1, piece(0)),
        Tick(),
    ):
        play.do(event)
    assert len(play.fetch) == 1
    play.do(PiecesArrived(A, 1, (piece(1),)))
    assert len(play.fetch) == 0
    assert play.fetch.inflight_bytes == 0


class Swarm:
    """Sources that lack, lose, lie, stall, close and return; one of them is honest and has everything."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.play = Play(seed=seed)
        self.good = NodeId("good")
        self.nodes = [NodeId(f"n{number}") for number in range(self.rng.randint(0, 5))]
        self.open: set[NodeId] = set()
        self.count = self.rng.choice([1, 10, 300, 1500])
        self.pieces = [piece(number, self.rng.choice([1, 200, 64 * KIB, MIB])) for number in range(self.count)]
        self.has = {node: {one for one in self.pieces if self.rng.random() < 0.5} for node in self.nodes}
        self.wants: Counter[Piece] = Counter()
        self.late: list[tuple[NodeId, int, Piece]] = []

    def do(self, event: Event) -> None:
        self.play.do(event)
        per_source: Counter[NodeId] = Counter()
        for node, source in self.play.fetch._sources.items():
            assert source.bytes == sum(one.length for ask in source.asks.values() for one in ask.remaining)
            assert source.bytes <= PEER_INFLIGHT_BYTES_MAX
            assert len(source.asks) <= ASKS_PIPELINED_MAX
            per_source[node] = source.bytes
        assert self.play.fetch.inflight_bytes == sum(per_source.values()) <= NODE_INFLIGHT_BYTES_MAX
        assert {ask_id for ask_id, ask in self.play.asks.items() if ask.node in self.open} == {
            ask_id for source in self.play.fetch._sources.values() for ask_id in source.asks
        }

    def arrive(self, node: NodeId, ask_id: int, one: Piece) -> None:
        self.wants.pop(one, None)
        self.settle(ask_id, one)
        self.do(PiecesArrived(node, ask_id, (one,)))

    def settle(self, ask_id: int, one: Piece) -> None:
        """The source has answered for a piece: drop a finished ask, as the transfer does."""
        ask = self.play.asks.get(ask_id)
        if ask is not None:
            rest = tuple(other for other in ask.pieces if other != one)
            if rest:
                self.play.asks[ask_id] = SendAsk(ask.node, ask_id, rest)
            else:
                del self.play.asks[ask_id]

    def step(self) -> None:
        play, rng = self.play, self.rng
        play.now += rng.expovariate(5)
        match rng.randrange(12):
            case 0:
                node = rng.choice([*self.nodes, self.good])
                if node in self.open:
                    self.open.discard(node)
                    play.asks = {ask_id: ask for ask_id, ask in play.asks.items() if ask.node != node}
                    self.do(SourceClosed(node))
                else:
                    self.open.add(node)
                    self.do(SourceOpened(node))
            case 1:
                some = rng.sample(self.pieces, min(len(self.pieces), rng.randint(1, 200)))
                self.wants.update(some)
                self.do(
                    PiecesWanted(
                        tuple(Want(one, (rng.choice([*self.nodes, self.good]),), rng.random() < 0.3) for one in some)
                    )
                )
            case 2 if self.wants:
                one = rng.choice(list(self.wants))
                self.wants[one] -= 1
                self.wants += Counter()
                # An ask that dies by this is cancelled by the machine.
                self.do(PieceUnwanted(one))
            case 3:
                self.do(Tick())
            case 4 if self.nodes:
                node = rng.choice(self.nodes)
                self.has[node].update(rng.sample(self.pieces, len(self.pieces) // 10))
                self.do(SourceProgressed(node))
            case 5 if self.late:
                self.arrive(*self.late.pop())
            case _ if play.asks:
                ask = rng.choice(list(play.asks.values()))
                for one in rng.sample(ask.pieces, rng.randint(1, len(ask.pieces))):
                    if ask.ask_id in play.asks:
                        self.answer(ask, one)
            case _:
                pass

    def answer(self, ask: SendAsk, one: Piece) -> None:
        luck = self.rng.random()
        if ask.node == self.good:
            self.arrive(ask.node, ask.ask_id, one)
        elif luck < 0.1:
            self.late.append((ask.node, ask.ask_id, one))  # lost, or very late
        elif luck < 0.15:
            item = self.play.fetch._items.get(one)
            mine = item is not None and item.ask is not None and item.ask.id == ask.ask_id
            if mine:
                self.settle(ask.ask_id, one)
                self.do(PieceSpoiled(ask.node, one))
        elif one in self.has[ask.node]:
            self.arrive(ask.node, ask.ask_id, one)
        else:
            self.settle(ask.ask_id, one)
            self.do(PieceLacked(ask.node, ask.ask_id, one))

    def run(self) -> None:
        for _ in range(300):
            self.step()
        if self.good not in self.open:
            self.open.add(self.good)
            self.do(SourceOpened(self.good))
        for _ in range(20_000):
            if len(self.play.fetch) == 0:
                break
            if self.play.asks and self.rng.random() < 0.9:
                ask = self.rng.choice(list(self.play.asks.values()))
                self.play.now += 0.05
                for one in ask.pieces:
                    if ask.ask_id in self.play.asks:
                        self.answer(ask, one)
            else:
                wake = self.play.fetch.wake_at()
                assert wake is not None, "pieces are wanted, nothing is asked and nothing would wake the machine"
                self.play.now = max(self.play.now, wake)
                self.do(Tick())
        assert len(self.play.fetch) == 0
        assert not self.wants
        for ask in list(self.play.asks.values()):  # what is left are pieces of partly unwanted asks
            for one in ask.pieces:
                self.settle(ask.ask_id, one)
                self.do(PieceLacked(ask.node, ask.ask_id, one))
        assert self.play.fetch.inflight_bytes == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_everything_arrives_as_long_as_one_honest_source_is_there(seed: int) -> None:
    """Whatever the others lack, lose or spoil, all wanted pieces arrive, and the bounds hold after every event."""
    Swarm(seed).run()


@pytest.mark.timeout(60)
def test_many_wants_cost_little_each() -> None:
    """Fifty thousand wants are no burden: the test's time limit fails where events scan them all."""
    play = Play(A, B, C)
    play.do(wanted(pieces(50_000, 32 * KIB)))
    for one in pieces(25_000, 32 * KIB):
        play.do(PieceUnwanted(one))
    assert sum(play.finish().values()) >= 25_000
    assert len(play.fetch) == 0


def test_who_is_pointed_asks_there() -> None:
    """The other is asked, though it lacked the piece before; if it lacks it again, the first is asked once more."""
    play = Play(A, B)
    play.do(wanted(pieces(2), hints=(A,)))
    ((ask_id, ask),) = play.asks.items()
    assert ask.node == A
    play.do(PieceLacked(B, 99, piece(0)))
    play.do(PiecesPointed(A, ask_id, ((piece(0), B), (piece(1), B))))
    assert play.fetch.is_open(A, ask_id) is False
    del play.asks[ask_id]
    assert set(play.asked(B)) == set(pieces(2))
    (again,) = play.asks.values()
    assert play.fetch.asked_of(piece(0)) == B
    play.answer(again, lacking=True)
    assert set(play.asked(A)) == set(pieces(2))
    assert play.finish() == {A: 2}
    assert len(play.fetch) == 0
    assert play.fetch.inflight_bytes == 0


@pytest.mark.parametrize("to", [C, A])
def test_who_is_pointed_nowhere_asks_again(to: NodeId) -> None:
    """To a member that is not linked, or to itself: it has the piece, so it is asked once more, at once."""
    play = Play(A)
    play.do(wanted(pieces(1)))
    (ask_id,) = play.asks
    play.do(PiecesPointed(A, ask_id, ((piece(0), to),)))
    del play.asks[ask_id]
    assert play.asked(A) == pieces(1)
    assert play.stuck == []


def test_being_pointed_after_the_end_is_nothing() -> None:
    """The ask is over, the piece has come from elsewhere, the source is gone."""
    play = Play(A)
    play.do(wanted(pieces(1)))
    (ask_id,) = play.asks
    play.do(PiecesPointed(B, ask_id, ((piece(0), A),)))
    play.do(PiecesPointed(A, 77, ((piece(0), A),)))
    play.do(PieceUnwanted(piece(0)))
    play.do(PiecesPointed(A, ask_id, ((piece(0), A),)))
    assert play.asks == {}
    assert play.fetch.inflight_bytes == 0


def test_who_lacked_a_part_is_not_asked_for_the_rest() -> None:
    """While another has the object, or may have it; and it is asked again when it has got further."""
    play = Play(A, B)
    play.do(wanted(pieces(1)))
    ((_, first),) = play.asks.items()
    poor, rich = first.node, B if first.node == A else A
    play.answer(first, lacking=True)
    play.finish()
    play.do(wanted(pieces(64)), at=100.0)
    assert play.asked(poor) == []
    play.do(SourceProgressed(poor))
    assert play.asked(poor)
    assert rich


def test_what_nobody_has_for_sure_is_asked_of_all() -> None:
    """Being poor is no reason to be stuck."""
    play = Play(A, B)
    for node in (A, B):
        play.do(PieceLacked(node, 99, piece(70)))
    play.do(wanted([piece(70), *pieces(3)]))
    assert sum(play.finish().values()) == 4
    assert play.stuck == []


def test_nobody_is_sent_round_and_round() -> None:
    """Two that point to each other, or to themselves, for ever: in the end they count as lacking, and that is said."""
    play = Play(A, B)
    play.do(wanted(pieces(1), hints=(A,)))
    for _ in range(100):
        if not play.asks:
            break
        ((ask_id, ask),) = play.asks.items()
        del play.asks[ask_id]
        play.do(PiecesPointed(ask.node, ask_id, ((piece(0), B if ask.node == A else A),)))
    assert play.asks == {}
    assert play.stuck == pieces(1)


def test_who_never_answers_gives_up_all_at_once() -> None:
    """Several questions are under way to one that is silent: after one time-out none of them waits for another."""
    play = Play(A, B)
    play.do(wanted(pieces(64), urgent=False))
    play.do(wanted(pieces(8, of=1), urgent=True))
    assert len([ask for ask in play.asks.values() if ask.node == B]) > 1
    while mine := [ask for ask in play.asks.values() if ask.node == A]:
        play.answer(mine[0])
    assert play.asked(B)
    play.do(Tick(), at=CHUNK_TIMEOUT_S)
    assert play.asked(B) == []
    assert play.finish().keys() == {A}
    assert len(play.fetch) == 0
