"""Whatever bytes come from outside: only the declared faults are raised, and what is accepted is valid to others."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from fuzz.messages import messages
from hypothesis import given
from hypothesis import strategies as st
from strategies import paths

from meerkat.core.ignore import Ignore
from meerkat.model.frame import EntriesPart, PeerFault, Signed
from meerkat.model.limits import MESSAGE_BYTES_MAX
from meerkat.model.path import PathFault, parse_path
from meerkat.model.recipe import RecipeFault, unpack_recipe
from meerkat.wire.convert import (
    decode_frame,
    decode_join_answer,
    decode_join_ask,
    encode_frame,
    encode_join_answer,
    encode_join_ask,
)
from meerkat.wire.convert_carry import decode_parcel, encode_parcel
from meerkat.wire.convert_index import decode_query, encode_query
from meerkat.wire.invite import InviteFault, InviteSecret, decode_invite, encode_invite
from meerkat.wire.rosterops import parse_op, parse_record
from meerkat.wire.v1 import pool_pb2 as pb

CORPUS = Path(__file__).parent.parent / "corpus"


def told(delta: bytes) -> bytes:
    """A piece that is told as this difference."""
    return pb.Parcel(id=1, give=pb.Give(data=[delta], codecs=[pb.CODEC_DELTA])).SerializeToString()


WIRE: dict[str, tuple[type[Any], Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "frame": (pb.Frame, decode_frame, encode_frame),
    "query": (pb.Query, decode_query, encode_query),
    "parcel": (pb.Parcel, decode_parcel, encode_parcel),
    "delta": (pb.Delta, lambda data: decode_parcel(told(data)), encode_parcel),
    "joinask": (pb.JoinRequest, decode_join_ask, encode_join_ask),
    "joinanswer": (pb.JoinReply, decode_join_answer, encode_join_answer),
}


def ensure_sound(kind: str, data: bytes) -> None:
    """The bytes are refused with a `PeerFault`, skipped, or become a value that passes on to others as it is."""
    _, decode, encode = WIRE[kind]
    try:
        value = decode(data)
    except PeerFault:
        return
    if value is None:
        return
    again = encode(value)
    assert len(again) <= MESSAGE_BYTES_MAX
    assert (decode_parcel if kind == "delta" else decode)(again) == value
    if isinstance(value, EntriesPart):
        for entry in value.entries:
            assert parse_path(entry.path) == entry.path
            for version in entry.siblings.values():
                version.ensure_valid()


@pytest.mark.parametrize("kind", WIRE)
@given(data=st.data())
def test_messages_of_any_shape(kind: str, data: st.DataObject) -> None:
    """Well-formed protobuf with anything in its fields."""
    ensure_sound(kind, data.draw(messages(WIRE[kind][0])).SerializeToString())


@pytest.mark.parametrize("kind", WIRE)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_messages_with_bytes_changed(kind: str, data: st.DataObject, seed: int) -> None:
    """The same with bytes flipped, dropped, doubled and cut off."""
    raw = bytearray(data.draw(messages(WIRE[kind][0])).SerializeToString())
    dice = random.Random(seed)
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(raw) + 1)
        match dice.randrange(4):
            case 0:
                raw[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del raw[at : at + dice.randrange(1, 9)]
            case 2:
                raw[at:at] = raw[at : at + dice.randrange(1, 40)]
            case _:
                del raw[at:]
    ensure_sound(kind, bytes(raw))


@given(messages(pb.RosterOp), st.binary(max_size=80))
def test_roster_operations(message: pb.RosterOp, signature: bytes) -> None:
    """An operation is one of ours or a fault, whatever is in it."""
    try:
        parse_op(Signed(message.SerializeToString(), signature))
    except PeerFault:
        pass


@given(messages(pb.Record), st.binary(max_size=80))
def test_records(message: pb.Record, signature: bytes) -> None:
    """So is what a node says of itself."""
    try:
        parse_record(Signed(message.SerializeToString(), signature))
    except PeerFault:
        pass


SECRET = InviteSecret(bytes(range(16)))
CODE = encode_invite(decode_invite(encode_invite("a" * 32, SECRET, [])).pool, SECRET, ["127.0.0.1:1"])  # type: ignore[arg-type]


@given(st.text(max_size=200) | st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ234567-MEERKAT", max_size=200))
def test_text_that_is_no_invite(text: str) -> None:
    """A code is read or refused; what is read is written the same again."""
    try:
        code = decode_invite(text)
    except InviteFault:
        return
    assert decode_invite(encode_invite(code.pool, code.secret, code.addresses)) == code


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from("ABZ27-0 é")), min_size=1, max_size=3))
def test_a_mistyped_invite_is_not_another_one(changes: list[tuple[int, str]]) -> None:
    """A character wrong, and the code says so; it never leads to another pool."""
    text = list(CODE)
    for at, char in changes:
        text[at % len(text)] = char
    try:
        code = decode_invite("".join(text))
    except InviteFault:
        return
    assert code == decode_invite(CODE)


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1)), max_size=50), st.data())
def test_recipes_that_do_not_add_up(records: list[tuple[bytes, int]], data: st.DataObject) -> None:
    """Whole records of any length: they make exactly the size, or are refused."""
    packed = b"".join(digest + length.to_bytes(4, "big") for digest, length in records)
    total = sum(length for _, length in records)
    size = data.draw(st.sampled_from([total, total + 1, max(0, total - 1), 0, 2**44]))
    try:
        recipe = unpack_recipe(packed, size)
    except RecipeFault:
        return
    assert recipe.size == size
    assert all(chunk.length > 0 for chunk in recipe.chunks)


@given(st.text(max_size=300) | st.text(alphabet="./\\a\0\u200b.meerkatMEERKAT", max_size=30))
def test_paths(text: str) -> None:
    """A path is refused or is one that leads nowhere else."""
    try:
        path = parse_path(text)
    except PathFault:
        return
    for name in path.split("/"):
        assert name not in ("", ".", "..")
        assert "\0" not in name
        assert name.casefold() != ".meerkat"


_GLOBS = st.text(alphabet="a*?[]!^-\\/ #b.", max_size=60)


@given(st.lists(_GLOBS, max_size=8), paths, st.booleans())
def test_ignore_rules(lines: list[str], path: Any, is_folder: bool) -> None:
    """Any text is a set of rules; a rule that cannot be understood is told and skipped."""
    rules = Ignore(lines, ())
    assert rules.ignored(path, is_folder) in (True, False)
    assert all(problem for problem in rules.problems)


@pytest.mark.parametrize(
    "pattern", ["*a" * 500, "**/a" * 250, "a*" * 300 + "b", "[a-z]*" * 150, "?*" * 400, "*/" * 500]
)
@pytest.mark.parametrize("name", ["a" * 250, "/".join("a" * 250), "/".join(["a" * 15] * 200)])
def test_ignore_rules_that_want_to_take_for_ever(pattern: str, name: str) -> None:
    """Patterns that ruin a backtracking matcher end all the same; that this test ends is the proof."""
    Ignore([pattern, f"!{pattern}b"], ()).ignored(parse_path(name), False)


def corpus() -> Iterable[Path]:
    return sorted(CORPUS.glob("*/*.bin"))


def test_the_corpus_is_there() -> None:
    """Each kind of message has examples of what was found."""
    assert {path.parent.name for path in corpus()} >= {"query", "frame"}


@pytest.mark.parametrize("path", corpus(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_stays_found(path: Path) -> None:
    """Inputs that once got past the wall, or broke it."""
    ensure_sound(path.parent.name, path.read_bytes())
