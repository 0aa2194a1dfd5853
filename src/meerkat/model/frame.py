"""What members say to each other, as the engine sees it: frozen values, already validated.

Three streams join two members. *Link* carries small, urgent things and never waits behind anything. *Index* carries
questions for entries and their answers. *Carry* carries content. Questions on Index and Carry are numbered by the
asker; both sides ask and answer on the same stream, so a node that nobody can dial is served all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from meerkat.model.dot import Vector
from meerkat.model.ids import NO_DIGEST, Digest, NodeId, PoolId
from meerkat.model.limits import DELTA_MARK_BYTES
from meerkat.model.member import Summary
from meerkat.model.version import Entry

RANGE_SUM_BYTES = 16
PATH_PRINT_BYTES = 8
PROTOCOL_VERSION_MIN = 1
PROTOCOL_VERSION_MAX = 1


class LinkLost(Exception):
    """The stream has ended; the message says why, as far as known."""


class PeerFault(Exception):
    """A peer sent what no honest peer sends: not decodable, out of bounds, or breaking the rules of its kind."""


# ---- roster parts (opaque to everyone but core/roster: signatures cover the very bytes)


class Signed(Struct, frozen=True):
    """A signed message: the exact bytes and an ECDSA P-256/SHA-256 signature over them (DER)."""

    body: bytes
    signature: bytes


class RosterPart(Struct, frozen=True):
    """Roster operations and node records; sets, so any part may come in any order, any number of times."""

    ops: tuple[Signed, ...] = ()
    records: tuple[Signed, ...] = ()
    last: bool = True


# ---- Link


class Hello(Struct, frozen=True):
    """The first frame on a link, from both sides."""

    pool: PoolId
    node: NodeId
    run: bytes
    version_min: int
    version_max: int
    features: tuple[str, ...]
    context: Vector
    floor: Vector
    fingerprint: bytes
    roster_digest: bytes
    software: str


class Heads(Struct, frozen=True):
    """Authors' newest sequences: "there is something up to here". Monotone, so loss and repetition do no harm."""

    vector: Vector


class Brief(Struct, frozen=True):
    """Summaries whose vectors are differences, which between members that are level are empty (see `core/brief`)."""

    summaries: tuple[Summary, ...]


class Ping(Struct, frozen=True):
    number: int


class Pong(Struct, frozen=True):
    number: int


class Neighbours(Struct, frozen=True):
    """What a node says of its links; passed on to whoever it is not linked with.

    Attributes:
        run, counter: order what it has said; a later start has a higher run, as far as its clock tells.
        doubted: those of `linked` that owe it an answer.
    """

    node: NodeId
    run: int
    counter: int
    linked: frozenset[NodeId]
    doubted: frozenset[NodeId]


class Bye(Struct, frozen=True):
    """The last frame; after `cloned` the other side still hands over its admission under another key, and is answered
    `admitted` with the admission's id. `why`: down, left, duplicate, refused, cloned, admitted or enough."""

    why: str
    text: str = ""


_NO_NODE = NodeId("")


class Way(Struct, frozen=True):
    """What came of trying one address of a member.

    Attributes:
        address: HOST:PORT.
        code: reached, or why not: refused, timed_out, silent, unreachable, no_such_host, not_tls, another_node,
            not_member or broken.
        text: the same for people.
        ms: how long it took.
        shown: the node that answered there, where one did.
    """

    address: str
    code: str
    text: str
    ms: int = 0
    shown: NodeId = _NO_NODE


class Probe(Struct, frozen=True):
    """Do you reach `target`? Asked for a person; `through` (unless empty): pass the question on to that member."""

    number: int
    target: NodeId
    through: NodeId = _NO_NODE


class Probed(Struct, frozen=True):
    """The answer to a probe.

    Attributes:
        refused: why there is none; else empty.
        standing: what the target is to whoever was asked: linked, member (but not linked), removed, unknown or self.
        at_ms: the clock there, milliseconds since 1970, for people.
        ways: what came of trying each address that is known there.
    """

    number: int
    refused: str = ""
    standing: str = ""
    at_ms: int = 0
    ways: tuple[Way, ...] = ()


LinkFrame = Hello | RosterPart | Heads | Summary | Brief | Ping | Pong | Neighbours | Bye | Probe | Probed


# ---- Index


class AskEntries(Struct, frozen=True):
    """What does my context not cover? `full`: compare everything, my context does not cover your floor. `ranges`: by
    ranges of the tree (see `core/ranges`)."""

    id: int
    context: Vector
    floor: Vector
    full: bool
    ranges: bool = False


@dataclass(frozen=True, slots=True)
class EntriesPart:
    """Whole sibling sets; parts of one answer come from one snapshot, in tree order.

    Attributes:
        morsels: bytes of very small files among them, by digest, not checked yet.
        packed: it may travel compressed, for whoever gets it understands that.
    """

    id: int
    entries: tuple[Entry, ...]
    morsels: Mapping[Digest, bytes] = field(default_factory=dict)
    packed: bool = field(default=False, compare=False)


class EntriesEnd(Struct, frozen=True):
    """All parts were sent; the vectors and the fingerprint are the snapshot's."""

    id: int
    context: Vector
    floor: Vector
    full: bool
    fingerprint: bytes


class Refused(Struct, frozen=True):
    """The question cannot be answered now. `code`: not_ready, need_full, busy, cancelled."""

    id: int
    code: str
    text: str = ""


class Marks(Struct, frozen=True):
    """Sums over ranges of entries: 16 bytes each, joined, and the tree keys where they end."""

    id: int
    highs: tuple[bytes, ...]
    sums: bytes
    last: bool


class Prints(Struct, frozen=True):
    """Sums over single paths, 8 bytes each: joined, for each of the ranges that were picked."""

    id: int
    lists: tuple[bytes, ...]
    last: bool


class Pick(Struct, frozen=True):
    """What of the last round's answer differs, by number, in order. None: that is all."""

    id: int
    picks: tuple[int, ...]


Answer = EntriesPart | EntriesEnd | Refused | Marks | Prints
IndexFrame = AskEntries | Answer | Pick


# ---- Carry


class Piece(Struct, frozen=True):
    """A run of bytes of one content.

    Attributes:
        object: digest of the file, or of the packed recipe when `recipe` is set.
        offset, length: in bytes; length at most 1 MiB.
        digest: BLAKE3 of these very bytes (for a recipe's part: empty, the whole is checked instead).
    """

    object: Digest
    offset: int
    length: int
    digest: Digest = NO_DIGEST
    recipe: bool = False


class Sketch(Struct, frozen=True):
    """What the asker has that a piece may resemble (see `core/delta`): a mark of 8 bytes for each part, joined."""

    salt: bytes
    marks: bytes

    @property
    def count(self) -> int:
        return len(self.marks) // DELTA_MARK_BYTES


class DeltaStep(Struct, frozen=True):
    """First `count` of the asker's sketched parts, from the `first`-th on; then `data`."""

    first: int
    count: int
    data: bytes


class Delta(Struct, frozen=True):
    """A piece, told as its difference from what the asker has sketched."""

    steps: tuple[DeltaStep, ...]


class PieceAsk(Struct, frozen=True):
    """Attributes:
    sketches: for some of the pieces, by index. Whoever does not know what they are gives the piece as it is.
    elsewhere: the asker may be told to ask somebody else (see `Lack`).
    """

    id: int
    pieces: tuple[Piece, ...]
    sketches: tuple[tuple[int, Sketch], ...] = ()
    elsewhere: bool = False


class Give(Struct, frozen=True):
    """Bytes of consecutive pieces of an ask, from its `first`-th on. Decompressed, not yet checked."""

    id: int
    first: int
    data: tuple[bytes | Delta, ...]


def given_bytes(item: bytes | Delta) -> int:
    """How many bytes of content an item of a `Give` brings along."""
    return sum(len(step.data) for step in item.steps) if isinstance(item, Delta) else len(item)


class Lack(Struct, frozen=True):
    """These pieces of an ask (by index) are not here; those of `elsewhere` are, and were just given to that member."""

    id: int
    pieces: tuple[int, ...]
    elsewhere: tuple[tuple[int, NodeId], ...] = ()


class Cancel(Struct, frozen=True):
    id: int


CarryFrame = PieceAsk | Give | Lack | Cancel


# ---- joining

_NO_POOL = PoolId("")


class JoinAsk(Struct, frozen=True):
    """A newcomer's call. Without `admission` it asks for the pool's proof only, with `plan` for its index as well.

    Attributes:
        claim: the newcomer's signature, which shows that the certificate is its own (see `wire/invite.join_claim`).
    """

    nonce: bytes
    certificate: bytes
    claim: bytes = b""
    admission: Signed | None = None
    record: Signed | None = None
    plan: bool = False


class JoinAnswer(Struct, frozen=True):
    """One reply to a newcomer. `refused`: invite_used, invite_expired, invite_revoked, invite_unknown, removed,
    not_ready, bad.

    Attributes:
        proof: shows that the pool knows the invite; the server fills it into the first answer of a call.
        invite: id of the invite operation, which the newcomer's admission must name; filled in by the server too.
        files, bytes: what the pool holds (first step), to plan with.
    """

    proof: bytes = b""
    invite: bytes = b""
    pool: PoolId = _NO_POOL
    roster: RosterPart | None = None
    refused: str = ""
    reason: str = ""
    files: int = 0
    bytes: int = 0
    entries: tuple[Entry, ...] = ()
