"""Invite codes, and what both sides derive from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import node_ids

from meerkat.model.ids import PoolId
from meerkat.wire.address import AddressFault
from meerkat.wire.identity import check_certificate, fingerprint_of, sign, verify
from meerkat.wire.invite import InviteFault, InviteSecret, decode_invite, encode_invite, join_proof

POOL = PoolId("abcdefgh" * 4)
SECRET = InviteSecret(bytes(range(16)))
ADDRESSES = ("192.168.1.20:4242", "[2001:db8::1]:1", "nas.example.org:65535", "[fe80::1%eth0]:7")
CODE = encode_invite(POOL, SECRET, ADDRESSES)

hosts = st.sampled_from(["10.1.2.3", "nas", "a.b-c.example", "[::1]", "[fe80::2%eth0]", "localhost"])
addresses = st.lists(st.builds(lambda host, port: f"{host}:{port}", hosts, st.integers(1, 65535)), max_size=4)


def test_both_sides_derive_the_same() -> None:
    """The certificate is byte-identical wherever it is derived, also by later versions: it is part of the protocol."""
    again = InviteSecret(bytes(range(16)))
    assert again.certificate == SECRET.certificate
    assert again.proof_key == SECRET.proof_key
    assert check_certificate(SECRET.certificate) == "4zsyp4uehvg7vmf6oscbr7qij73z2xfg"
    assert fingerprint_of(SECRET.certificate).hex().startswith("e3955ddc66ead3b9")
    assert SECRET.proof_key.hex().startswith("1e6cc149ef694f32")


def test_every_secret_is_its_own() -> None:
    """Two invites share neither key nor proof key, and the proof key is not the key."""
    one, other = InviteSecret.new(), InviteSecret.new()
    assert one.certificate != other.certificate
    assert one.proof_key != other.proof_key
    assert one.proof_key != one.key.private_numbers().private_value.to_bytes(32, "big")


def test_the_derived_key_signs_for_the_certificate() -> None:
    """The certificate shows the public half of the derived key."""
    assert verify(SECRET.certificate, b"text", sign(SECRET.key, b"text"))


def test_the_secret_stays_out_of_logs() -> None:
    """Printing an invite does not give it away."""
    assert "x00" not in repr(SECRET)
    assert str(bytes(range(16))) not in repr(decode_invite(CODE))


@given(node_ids, st.binary(min_size=16, max_size=16), addresses)
def test_codes_say_what_was_put_in(pool: str, secret: bytes, where: list[str]) -> None:
    """Pool, secret and addresses come back as they were, and the code is one plain word."""
    code = encode_invite(PoolId(pool), InviteSecret(secret), where)
    read = decode_invite(code)
    assert (read.pool, read.secret.secret, list(read.addresses)) == (pool, secret, where)
    assert code.isalnum()
    assert code == code.upper()


def test_a_code_is_read_however_it_was_pasted() -> None:
    """Case, spaces, line breaks, dashes and the letters that look like digits do not matter."""
    pieces = "-".join(CODE[at : at + 5] for at in range(0, len(CODE), 5))
    for pasted in (CODE.lower(), f"  {CODE[:20]}\n {CODE[20:]} ", pieces, CODE.replace("0", "O").replace("1", "l")):
        assert decode_invite(pasted) == decode_invite(CODE)


@pytest.mark.parametrize("size", range(1, len(CODE)))
def test_a_cut_code_says_so(size: int) -> None:
    """A code that lost its end is recognised, wherever it was cut."""
    with pytest.raises(InviteFault, match="is cut off or mistyped"):
        decode_invite(CODE[:size])


@given(st.integers(0, len(CODE) - 1), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_a_mistyped_code_says_so(at: int, letter: str) -> None:
    """One wrong letter anywhere is recognised."""
    typed = CODE[:at] + letter + CODE[at + 1 :]
    if typed != CODE:
        with pytest.raises(InviteFault, match="is cut off or mistyped"):
            decode_invite(typed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("ABC!", "'!' does not occur"),
        ("U" * 30, "does not occur"),
        ("A" * 3000, "long"),
    ],
)
def test_what_is_no_code_says_why(text: str, message: str) -> None:
    """Somebody who pastes something else is told what is wrong with it."""
    with pytest.raises(InviteFault, match=message):
        decode_invite(text)


@given(st.text(max_size=200))
def test_rubbish_is_only_ever_an_invite_fault(text: str) -> None:
    """No text provokes another error."""
    with pytest.raises(InviteFault):
        decode_invite(text)


def test_only_a_few_addresses_find_room() -> None:
    """A node with many addresses still has a code of a line; what is no address is refused."""
    assert len(decode_invite(encode_invite(POOL, SECRET, ["nas:1"] * 9)).addresses) == 4
    with pytest.raises(AddressFault):
        encode_invite(POOL, SECRET, ["nas"])


def test_a_proof_covers_everything_that_could_be_swapped() -> None:
    """Another nonce, invite, sponsor, newcomer or key gives another proof, and parts cannot be shifted."""
    given_parts = {"nonce": b"n", "invite": b"i", "sponsor": b"s", "newcomer": b"c"}
    proof = join_proof(b"key", **given_parts)
    assert proof != join_proof(b"other", **given_parts)
    for part in given_parts:
        assert proof != join_proof(b"key", **{**given_parts, part: b"x"})
    assert join_proof(b"k", nonce=b"", invite=b"ab", sponsor=b"c", newcomer=b"") != join_proof(
        b"k", nonce=b"", invite=b"a", sponsor=b"bc", newcomer=b""
    )
