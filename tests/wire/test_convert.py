"""Link frames, roster parts and joining, there and back, and what hostile peers may send instead."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from strategies import authors, bounds, entries, node_ids, vectors

from meerkat.model.frame import (
    Brief,
    Bye,
    Heads,
    Hello,
    JoinAnswer,
    JoinAsk,
    LinkFrame,
    Neighbours,
    PeerFault,
    Ping,
    Pong,
    Probe,
    Probed,
    RosterPart,
    Signed,
    Way,
)
from meerkat.model.ids import NodeId, PoolId
from meerkat.model.limits import (
    FEATURES_MAX,
    NEIGHBOURS_TOLD_MAX,
    ROSTER_OP_BYTES_MAX,
    RUN_MAX,
    SUMMARY_REASONS_MAX,
    WAYS_MAX,
)
from meerkat.model.member import NodeState, Summary
from meerkat.wire.convert import (
    decode_frame,
    decode_join_answer,
    decode_join_ask,
    encode_frame,
    encode_join_answer,
    encode_join_ask,
)
from meerkat.wire.identity import Identity
from meerkat.wire.v1 import pool_pb2 as pb

CERTIFICATE = Identity.create().certificate
POOL = PoolId("a" * 32)

texts = st.text(max_size=20)
pools = node_ids.map(PoolId)
numbers = st.integers(0, 2**62 - 1)
signed = st.builds(Signed, st.binary(max_size=60), st.binary(max_size=72))
signeds = st.lists(signed, max_size=3).map(tuple)
roster_parts = st.builds(RosterPart, signeds, signeds, st.booleans())
hellos = st.builds(
    lambda version, known, **fields: Hello(
        version_min=version, version_max=version + 2, context=known[0], floor=known[1], **fields
    ),
    st.integers(0, 100),
    bounds,
    pool=pools,
    node=node_ids,
    run=st.binary(min_size=16, max_size=16),
    features=st.lists(texts, max_size=3).map(tuple),
    fingerprint=st.binary(min_size=16, max_size=16),
    roster_digest=st.binary(min_size=32, max_size=32),
    software=texts,
)
summaries = st.builds(
    Summary,
    node_ids,
    st.integers(0, 2**64 - 1),
    numbers,
    st.sampled_from(NodeState),
    numbers,
    numbers,
    vectors,
    vectors,
    st.lists(st.tuples(texts, texts, texts), max_size=3).map(tuple),
)
nobody_or_node = st.just(NodeId("")) | node_ids
ways = st.builds(Way, texts, texts, texts, st.integers(0, 2**32 - 1), nobody_or_node)
neighbours = st.builds(
    lambda node, run, counter, doubts: Neighbours(
        node, run, counter, frozenset(doubts), frozenset(each for each, doubted in doubts.items() if doubted)
    ),
    node_ids,
    st.integers(0, RUN_MAX),
    numbers,
    st.dictionaries(node_ids, st.booleans(), max_size=5),
)
differences = st.dictionaries(authors, st.integers(0, 2**62 - 1), max_size=4)
briefs = st.builds(
    lambda told: Brief(tuple(replace(each, context=context, complete=complete) for each, context, complete in told)),
    st.lists(st.tuples(summaries, differences, differences), max_size=3),
)
frames = st.one_of(
    briefs,
    hellos,
    st.builds(Probe, st.integers(0, 2**64 - 1), node_ids, nobody_or_node),
    st.builds(Probed, st.integers(0, 2**64 - 1), texts, texts, numbers, st.lists(ways, max_size=3).map(tuple)),
    roster_parts,
    st.builds(Heads, vectors),
    summaries,
    st.builds(Ping, st.integers(0, 2**64 - 1)),
    st.builds(Pong, st.integers(0, 2**64 - 1)),
    neighbours,
    st.builds(Bye, st.sampled_from(["down", "left", "duplicate", "refused", "cloned", "admitted", "enough"]), texts),
)
asks = st.builds(
    JoinAsk,
    st.binary(min_size=32, max_size=32),
    st.just(CERTIFICATE),
    st.binary(max_size=80),
    st.none() | signed,
    st.none() | signed,
    st.booleans(),
)
answers = st.builds(
    JoinAnswer,
    proof=st.sampled_from([b"", bytes(32)]),
    invite=st.sampled_from([b"", bytes(32)]),
    pool=st.just(PoolId("")) | pools,
    roster=st.none() | roster_parts,
    refused=texts,
    reason=texts,
    files=numbers,
    bytes=numbers,
    entries=st.lists(entries, max_size=2).map(tuple),
)


@given(frames)
def test_frames_come_back(frame: LinkFrame) -> None:
    """Every frame of a link arrives as it was sent."""
    assert decode_frame(encode_frame(frame)) == frame


@given(asks, answers)
def test_joining_comes_back(ask: JoinAsk, answer: JoinAnswer) -> None:
    """A newcomer's call and a sponsor's answers arrive as they were sent."""
    assert decode_join_ask(encode_join_ask(ask)) == ask
    assert decode_join_answer(encode_join_answer(answer)) == answer


def hello(**fields: object) -> pb.Frame:
    given: dict[str, object] = {"pool": POOL, "node": bytes(20), "run": bytes(16), "version_min": 1, "version_max": 1}
    return pb.Frame(hello=pb.Hello(**{**given, **fields}))  # type: ignore[arg-type]


def test_the_plain_greeting_of_these_tests_is_valid() -> None:
    """What the next test spoils one field at a time passes unspoilt."""
    assert isinstance(decode_frame(hello().SerializeToString()), Hello)


@pytest.mark.parametrize(
    "frame",
    [
        hello(pool=""),
        hello(pool="A" * 32),
        hello(node=b""),
        hello(run=bytes(15)),
        hello(version_min=2),
        hello(features=["x"] * (FEATURES_MAX + 1)),
        hello(features=["x" * 65]),
        hello(fingerprint=bytes(8)),
        hello(roster_digest=bytes(31)),
        hello(software="x" * 65),
        pb.Frame(summary=pb.Summary(node=bytes(20), counter=1 << 63)),
        pb.Frame(summary=pb.Summary(node=bytes(20), waiting=[pb.Waiting()] * (SUMMARY_REASONS_MAX + 1))),
        pb.Frame(summary=pb.Summary(node=bytes(20), waiting=[pb.Waiting(path="x" * 5000)])),
        pb.Frame(roster=pb.Roster(ops=[pb.SignedOp(body=bytes(ROSTER_OP_BYTES_MAX + 1))])),
        pb.Frame(roster=pb.Roster(records=[pb.SignedRecord(signature=bytes(81))])),
        pb.Frame(bye=pb.Bye(text="x" * 2000)),
        pb.Frame(probe=pb.Probe(target=b"short")),
        pb.Frame(probe=pb.Probe(target=bytes(20), through=b"short")),
        pb.Frame(probed=pb.Probed(ways=[pb.Way()] * (WAYS_MAX + 1))),
        pb.Frame(probed=pb.Probed(at_ms=-1)),
        pb.Frame(probed=pb.Probed(ways=[pb.Way(address="x" * 300)])),
    ],
    ids=count(),
)
def test_frames_that_no_honest_peer_sends(frame: pb.Frame) -> None:
    """Fields of a wrong length, upside-down versions and too much of anything are refused."""
    with pytest.raises(PeerFault):
        decode_frame(frame.SerializeToString())


@pytest.mark.parametrize(
    "ask",
    [
        pb.JoinRequest(nonce=bytes(31), certificate=CERTIFICATE),
        pb.JoinRequest(nonce=bytes(32), certificate=b"rubbish"),
        pb.JoinRequest(nonce=bytes(32), certificate=CERTIFICATE, claim=bytes(81)),
        pb.JoinRequest(nonce=bytes(32), certificate=CERTIFICATE, admission=pb.SignedOp(body=bytes(5000))),
    ],
    ids=["nonce", "certificate", "claim", "admission"],
)
def test_newcomers_that_are_none(ask: pb.JoinRequest) -> None:
    """A call without a nonce, or with a certificate that no node would have, is refused."""
    with pytest.raises(PeerFault):
        decode_join_ask(ask.SerializeToString())


@pytest.mark.parametrize(
    "words",
    [
        pb.Neighbours(linked=bytes(20)),
        pb.Neighbours(node=bytes(20), run=RUN_MAX + 1),
        pb.Neighbours(node=bytes(20), linked=bytes(21)),
        pb.Neighbours(node=bytes(20), linked=bytes(20), doubted=[1]),
        pb.Neighbours(node=bytes(20), linked=bytes(20), doubted=[0, 0]),
        pb.Neighbours(node=bytes(20), linked=bytes(20 * (NEIGHBOURS_TOLD_MAX + 1))),
    ],
    ids=["of nobody", "run", "half an id", "doubts a stranger", "doubts twice", "too many"],
)
def test_links_that_no_node_has(words: pb.Neighbours) -> None:
    """What is said of links is refused where it is not whole, or more than any node says."""
    with pytest.raises(PeerFault):
        decode_frame(pb.Frame(neighbours=words).SerializeToString())


def test_what_a_later_version_says_is_understood_as_far_as_possible() -> None:
    """Unknown kinds are skipped, unknown fields ignored, unknown words read as the nearest that is known."""
    unknown_field = bytes([0xFA, 0x01, 0x02, 0x08, 0x01])
    assert decode_frame(unknown_field) is None
    assert decode_frame(encode_frame(Ping(3)) + unknown_field) == Ping(3)
    later = pb.Frame(summary=pb.Summary(node=bytes(20), state="dreaming"))
    summary = decode_frame(later.SerializeToString())
    assert isinstance(summary, Summary)
    assert summary.state is NodeState.UNKNOWN
    farewell = decode_frame(pb.Frame(bye=pb.Bye(why=pb.Bye.Why.ValueType(9))).SerializeToString())
    assert farewell == Bye("down")


@given(st.binary(max_size=200))
def test_rubbish_is_only_ever_a_peer_fault(data: bytes) -> None:
    """No bytes provoke another error."""
    for decode in (decode_frame, decode_join_ask, decode_join_answer):
        try:
            decode(data)
        except PeerFault:
            pass


@given(frames, st.data())
def test_a_damaged_frame_is_only_ever_a_peer_fault(frame: LinkFrame, data: st.DataObject) -> None:
    """Nor do valid frames with some bytes changed."""
    raw = bytearray(encode_frame(frame))
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_frame(bytes(raw))
    except PeerFault:
        pass
