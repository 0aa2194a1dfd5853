"""Link stream, roster parts and joining, protobuf <-> model. With its siblings `convert_index` and `convert_carry` the
one customs house of the wire: nothing that a peer wrote gets past it unchecked.

Invariant: decoding arbitrary bytes gives a valid value, None (a kind from a later version: skip it) or a `PeerFault`;
nothing else. Fields that this version does not know are ignored.
"""

from collections.abc import Callable, Sequence
from typing import assert_never

from meerkat.model.dot import Author, Vector
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
    ADDRESS_CHARS_MAX,
    FEATURES_MAX,
    MEMBERS_MAX,
    NEIGHBOURS_TOLD_MAX,
    PATH_BYTES_MAX,
    ROSTER_OP_BYTES_MAX,
    ROSTER_OPS_MAX,
    RUN_MAX,
    SUMMARIES_PER_FRAME_MAX,
    SUMMARY_REASONS_MAX,
    TEXT_CHARS_MAX,
    WAYS_MAX,
    WORD_CHARS_MAX,
)
from meerkat.model.member import NodeState, Summary
from meerkat.wire.convert_index import FINGERPRINT_LENGTHS, entries_from_pb, entries_to_pb
from meerkat.wire.convert_vector import (
    bounds_from_pb,
    check_count,
    check_length,
    check_number,
    check_text,
    difference_from_pb,
    difference_to_pb,
    node_from_bytes,
    node_to_bytes,
    parsed,
    pool_from_text,
    vector_from_pb,
    vector_to_pb,
)
from meerkat.wire.identity import NODE_BYTES, CertificateFault, check_certificate
from meerkat.wire.v1 import pool_pb2 as pb

NONCE_BYTES = 32
PROOF_BYTES = 32
OP_ID_BYTES = 32
RUN_BYTES = 16
SIGNATURE_BYTES_MAX = 80  # a DER signature of P-256 has at most 72
_UINT64_END = 1 << 64

_WHYS = {
    "down": pb.Bye.DOWN,
    "left": pb.Bye.LEFT,
    "duplicate": pb.Bye.DUPLICATE,
    "refused": pb.Bye.REFUSED,
    "cloned": pb.Bye.CLONED,
    "admitted": pb.Bye.ADMITTED,
    "enough": pb.Bye.ENOUGH,
}
_WHY_NAMES = {number: name for name, number in _WHYS.items()}


# ---- Link


def encode_frame(frame: LinkFrame) -> bytes:
    """The frame as a serialised Frame."""
    message = pb.Frame()
    match frame:
        case Hello():
            message.hello.CopyFrom(_hello_to_pb(frame))
        case RosterPart():
            message.roster.CopyFrom(_roster_to_pb(frame))
        case Heads():
            message.heads.CopyFrom(vector_to_pb(frame.vector))
        case Summary():
            message.summary.CopyFrom(_summary_to_pb(frame))
        case Brief():
            message.brief.summaries.extend(_summary_to_pb(each, difference_to_pb) for each in frame.summaries)
        case Ping():
            message.ping.CopyFrom(pb.Ping(number=frame.number))
        case Pong():
            message.pong.CopyFrom(pb.Ping(number=frame.number))
        case Neighbours():
            message.neighbours.CopyFrom(_neighbours_to_pb(frame))
        case Bye():
            message.bye.CopyFrom(pb.Bye(why=_WHYS[frame.why], text=frame.text[:TEXT_CHARS_MAX]))
        case Probe():
            message.probe.CopyFrom(
                pb.Probe(number=frame.number, target=node_to_bytes(frame.target), through=node_to_bytes(frame.through))
            )
        case Probed():
            message.probed.CopyFrom(_probed_to_pb(frame))
        case _:
            assert_never(frame)
    return message.SerializeToString()


def decode_frame(data: bytes) -> LinkFrame | None:
    """The frame in a serialised Frame; None when its kind is one of a later version.

    Raises:
        PeerFault: not decodable, or breaking any rule of its kind.
    """
    message = parsed(pb.Frame, data)
    match message.WhichOneof("body"):
        case "hello":
            return _hello_from_pb(message.hello)
        case "roster":
            return _roster_from_pb(message.roster)
        case "heads":
            return Heads(vector_from_pb(message.heads))
        case "summary":
            return _summary_from_pb(message.summary)
        case "brief":
            check_count("summaries", len(message.brief.summaries), SUMMARIES_PER_FRAME_MAX)
            return Brief(tuple(_summary_from_pb(each, difference_from_pb) for each in message.brief.summaries))
        case "ping":
            return Ping(message.ping.number)
        case "pong":
            return Pong(message.pong.number)
        case "neighbours":
            return _neighbours_from_pb(message.neighbours)
        case "bye":
            # A reason from a later version is still a farewell.
            why = _WHY_NAMES.get(message.bye.why, "down")
            return Bye(why, check_text("a farewell", message.bye.text, TEXT_CHARS_MAX))
        case "probe":
            probe = message.probe
            return Probe(probe.number, node_from_bytes(probe.target), _node_or_none(probe.through))
        case "probed":
            return _probed_from_pb(message.probed)
        case None:
            return None


def _neighbours_to_pb(news: Neighbours) -> pb.Neighbours:
    linked = sorted(news.linked)
    return pb.Neighbours(
        node=node_to_bytes(news.node),
        run=news.run,
        counter=news.counter,
        linked=b"".join(node_to_bytes(node) for node in linked),
        doubted=[number for number, node in enumerate(linked) if node in news.doubted],
    )


def _neighbours_from_pb(message: pb.Neighbours) -> Neighbours:
    count, rest = divmod(len(message.linked), NODE_BYTES)
    if rest:
        raise PeerFault("a list of linked nodes ends within an id")
    check_count("linked nodes", count, NEIGHBOURS_TOLD_MAX)
    check_count("doubted nodes", len(message.doubted), count)
    linked = [node_from_bytes(message.linked[at : at + NODE_BYTES]) for at in range(0, len(message.linked), NODE_BYTES)]
    if any(number >= count for number in message.doubted):
        raise PeerFault("a node is doubted that is not linked")
    return Neighbours(
        node=node_from_bytes(message.node),
        run=check_number("a run", message.run, RUN_MAX + 1),
        counter=check_number("a counter", message.counter),
        linked=frozenset(linked),
        doubted=frozenset(linked[number] for number in message.doubted),
    )


def _hello_to_pb(hello: Hello) -> pb.Hello:
    return pb.Hello(
        pool=hello.pool,
        node=node_to_bytes(hello.node),
        run=hello.run,
        version_min=hello.version_min,
        version_max=hello.version_max,
        features=hello.features,
        context=vector_to_pb(hello.context),
        floor=vector_to_pb(hello.floor),
        fingerprint=hello.fingerprint,
        roster_digest=hello.roster_digest,
        software=hello.software,
    )


def _hello_from_pb(message: pb.Hello) -> Hello:
    check_count("features", len(message.features), FEATURES_MAX)
    if message.version_min > message.version_max:
        raise PeerFault("the protocol versions of a greeting are upside down")
    context, floor = bounds_from_pb(message.context, message.floor)
    return Hello(
        pool=pool_from_text(message.pool),
        node=node_from_bytes(message.node),
        run=check_length("a run", message.run, RUN_BYTES),
        version_min=message.version_min,
        version_max=message.version_max,
        features=tuple(check_text("a feature", feature, WORD_CHARS_MAX) for feature in message.features),
        context=context,
        floor=floor,
        fingerprint=check_length("an index fingerprint", message.fingerprint, *FINGERPRINT_LENGTHS),
        roster_digest=check_length("a roster digest", message.roster_digest, 0, 32),
        software=check_text("the software's name", message.software, WORD_CHARS_MAX),
    )


def _summary_to_pb(summary: Summary, vector: Callable[[Vector], pb.Vector] = vector_to_pb) -> pb.Summary:
    message = pb.Summary(
        node=node_to_bytes(summary.node),
        run=summary.run,
        counter=summary.counter,
        state=summary.state.value,
        behind_files=summary.behind_files,
        behind_bytes=summary.behind_bytes,
        complete=vector(summary.complete),
        context=vector(summary.context),
    )
    for path, reason, text in summary.reasons[:SUMMARY_REASONS_MAX]:
        message.waiting.add(path=path, reason=reason, text=text[:TEXT_CHARS_MAX])
    return message


def _summary_from_pb(message: pb.Summary, vector: Callable[[pb.Vector], dict[Author, int]] = vector_from_pb) -> Summary:
    check_count("reasons", len(message.waiting), SUMMARY_REASONS_MAX)
    try:
        state = NodeState(message.state)
    except ValueError:
        state = NodeState.UNKNOWN  # a state of a later version
    return Summary(
        node=node_from_bytes(message.node),
        run=check_number("a run", message.run, _UINT64_END),
        counter=check_number("a counter", message.counter),
        state=state,
        behind_files=check_number("behind_files", message.behind_files),
        behind_bytes=check_number("behind_bytes", message.behind_bytes),
        complete=vector(message.complete),
        context=vector(message.context),
        reasons=tuple(
            (
                check_text("a path", waiting.path, PATH_BYTES_MAX),
                check_text("a reason", waiting.reason, WORD_CHARS_MAX),
                check_text("an explanation", waiting.text, TEXT_CHARS_MAX),
            )
            for waiting in message.waiting
        ),
    )


def _probed_to_pb(probed: Probed) -> pb.Probed:
    message = pb.Probed(number=probed.number, refused=probed.refused, standing=probed.standing, at_ms=probed.at_ms)
    for way in probed.ways[:WAYS_MAX]:
        text = way.text[:TEXT_CHARS_MAX]
        message.ways.add(address=way.address, code=way.code, text=text, ms=way.ms, shown=node_to_bytes(way.shown))
    return message


def _probed_from_pb(message: pb.Probed) -> Probed:
    check_count("ways", len(message.ways), WAYS_MAX)
    return Probed(
        number=message.number,
        refused=check_text("a refusal", message.refused, TEXT_CHARS_MAX),
        standing=check_text("a standing", message.standing, WORD_CHARS_MAX),
        at_ms=check_number("a time", message.at_ms),
        ways=tuple(
            Way(
                address=check_text("an address", way.address, ADDRESS_CHARS_MAX),
                code=check_text("a code", way.code, WORD_CHARS_MAX),
                text=check_text("an explanation", way.text, TEXT_CHARS_MAX),
                ms=way.ms,
                shown=_node_or_none(way.shown),
            )
            for way in message.ways
        ),
    )


def _node_or_none(data: bytes) -> NodeId:
    return node_from_bytes(data) if data else NodeId("")


# ---- the roster


def _roster_to_pb(part: RosterPart) -> pb.Roster:
    message = pb.Roster(last=part.last)
    for op in part.ops:
        message.ops.add(body=op.body, signature=op.signature)
    for record in part.records:
        message.records.add(body=record.body, signature=record.signature)
    return message


def _roster_from_pb(message: pb.Roster) -> RosterPart:
    check_count("roster operations", len(message.ops), ROSTER_OPS_MAX)
    check_count("node records", len(message.records), MEMBERS_MAX)
    return RosterPart(ops=signed_from_pb(message.ops), records=signed_from_pb(message.records), last=message.last)


def signed_from_pb(messages: Sequence[pb.SignedOp] | Sequence[pb.SignedRecord]) -> tuple[Signed, ...]:
    """Signed messages, bounded in size; neither parsed nor verified yet."""
    for message in messages:
        check_count("bytes in a roster operation", len(message.body), ROSTER_OP_BYTES_MAX)
        check_count("bytes in a signature", len(message.signature), SIGNATURE_BYTES_MAX)
    return tuple(Signed(message.body, message.signature) for message in messages)


# ---- joining


def encode_join_ask(ask: JoinAsk) -> bytes:
    message = pb.JoinRequest(nonce=ask.nonce, certificate=ask.certificate, claim=ask.claim, plan=ask.plan)
    if ask.admission is not None:
        message.admission.CopyFrom(pb.SignedOp(body=ask.admission.body, signature=ask.admission.signature))
    if ask.record is not None:
        message.record.CopyFrom(pb.SignedRecord(body=ask.record.body, signature=ask.record.signature))
    return message.SerializeToString()


def decode_join_ask(data: bytes) -> JoinAsk:
    """A newcomer's call; its certificate has been checked, its claim, admission and record have not.

    Raises:
        PeerFault: not decodable, or out of bounds.
    """
    message = parsed(pb.JoinRequest, data)
    try:
        check_certificate(message.certificate)
    except CertificateFault as fault:
        raise PeerFault(str(fault)) from None
    check_count("bytes in a signature", len(message.claim), SIGNATURE_BYTES_MAX)
    return JoinAsk(
        nonce=check_length("a nonce", message.nonce, NONCE_BYTES),
        certificate=message.certificate,
        claim=message.claim,
        admission=signed_from_pb([message.admission])[0] if message.HasField("admission") else None,
        record=signed_from_pb([message.record])[0] if message.HasField("record") else None,
        plan=message.plan,
    )


def encode_join_answer(answer: JoinAnswer) -> bytes:
    message = pb.JoinReply(
        proof=answer.proof,
        invite=answer.invite,
        pool=answer.pool,
        refused=answer.refused,
        reason=answer.reason[:TEXT_CHARS_MAX],
        files=answer.files,
        bytes=answer.bytes,
    )
    if answer.roster is not None:
        message.roster.CopyFrom(_roster_to_pb(answer.roster))
    if answer.entries:
        message.entries.CopyFrom(entries_to_pb(answer.entries))
    return message.SerializeToString()


def decode_join_answer(data: bytes) -> JoinAnswer:
    """One reply of a sponsor.

    Raises:
        PeerFault: not decodable, or out of bounds.
    """
    message = parsed(pb.JoinReply, data)
    return JoinAnswer(
        proof=check_length("a proof", message.proof, 0, PROOF_BYTES),
        invite=check_length("an invite's id", message.invite, 0, OP_ID_BYTES),
        pool=pool_from_text(message.pool) if message.pool else PoolId(""),
        roster=_roster_from_pb(message.roster) if message.HasField("roster") else None,
        refused=check_text("a code", message.refused, WORD_CHARS_MAX),
        reason=check_text("a reason", message.reason, TEXT_CHARS_MAX),
        files=check_number("files", message.files),
        bytes=check_number("bytes", message.bytes),
        entries=entries_from_pb(message.entries) if message.HasField("entries") else (),
    )
