"""The code that admits, and what both sides derive from its secret.

Invariants: the same secret gives the same key and the byte-identical certificate everywhere (deterministic ECDSA, fixed
serial and dates), so any member can recognise a newcomer by fingerprint; the secret itself is in the code alone and is
never written to the roster; the proof key is derived apart from the key, so knowing it admits nobody.

The code is one word without anything that a shell, a chat or a double click would trip over: Crockford's base32
(https://www.crockford.com/base32.html, O reads as 0, I and L as 1) over

    version (1) | pool (20) | secret (16) | count (1) | addresses | CRC-32 (4)

where an address is a length, that many bytes of host, and a port (2); a length of 254 or 255 stands for an IPv4 (4) or
IPv6 (16) address in binary.
"""

import base64
import binascii
import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from meerkat.model.ids import PoolId
from meerkat.model.limits import INVITE_ADDRESSES_MAX, INVITE_SECRET_BYTES
from meerkat.wire.address import Address, AddressFault, parse_address
from meerkat.wire.identity import NODE_BYTES, key_pem_of, pem_of, self_signed

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READS_AS = {character: place for place, character in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}
_VERSION = 1
_SERIAL = 1
_IPV4, _IPV6 = 254, 255
_CRC_BYTES = 4
_CODE_CHARS_MAX = 2048
# The order of P-256's group; FIPS 186-5, appendix A.2.1: 64 bits more than the order make the bias negligible.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_KEY_SEED_BYTES = 40
_PROOF_KEY_BYTES = 32


class InviteFault(ValueError):
    """Text that is not an invite code; the message says what is wrong with it."""


def _derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt=None, info=b"meerkat.v1 invite " + purpose).derive(secret)


@dataclass(frozen=True)
class InviteSecret:
    """The secret of an invite (16 random bytes) and what follows from it."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != INVITE_SECRET_BYTES:
            raise ValueError(f"an invite's secret has {INVITE_SECRET_BYTES} bytes")

    @classmethod
    def new(cls) -> "InviteSecret":
        return cls(secrets.token_bytes(INVITE_SECRET_BYTES))

    @cached_property
    def key(self) -> ec.EllipticCurvePrivateKey:
        seed = int.from_bytes(_derived(self.secret, b"key", _KEY_SEED_BYTES), "big")
        return ec.derive_private_key(seed % (_ORDER - 1) + 1, ec.SECP256R1())

    @cached_property
    def certificate(self) -> bytes:
        """DER; the same bytes wherever it is derived."""
        return self_signed(self.key, _SERIAL, deterministic=True)

    @cached_property
    def proof_key(self) -> bytes:
        """32 bytes with which the pool proves that it knows the invite."""
        return _derived(self.secret, b"proof", _PROOF_KEY_BYTES)

    @property
    def key_pem(self) -> bytes:
        return key_pem_of(self.key)

    @property
    def certificate_pem(self) -> bytes:
        return pem_of(self.certificate)


def join_proof(proof_key: bytes, *, nonce: bytes, invite: bytes, sponsor: bytes, newcomer: bytes) -> bytes:
    """What only a node that knows the invite can say: HMAC-SHA256 over the newcomer's nonce and the certificates (DER)
    of the invite, of the node that answers and of the newcomer, each preceded by its length."""
    return hmac.digest(proof_key, _joined(b"meerkat.v1 join", nonce, invite, sponsor, newcomer), "sha256")


def join_claim(*, nonce: bytes, invite: bytes, sponsor: bytes, newcomer: bytes) -> bytes:
    """What a newcomer signs to show that the key in its certificate is its own. Certificates are no secret: without
    this, whoever holds a code that is over could ask in the name of the node that it has admitted.

    The sponsor's certificate is in it, so that nobody can use it elsewhere."""
    return _joined(b"meerkat.v1 newcomer", nonce, invite, sponsor, newcomer)


def _joined(*parts: bytes) -> bytes:
    """The parts, each preceded by its length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


@dataclass(frozen=True, slots=True)
class InviteCode:
    """What an invite code says: which pool, the secret, and where members were listening (HOST:PORT)."""

    pool: PoolId
    secret: InviteSecret
    addresses: tuple[str, ...]


def encode_invite(pool: PoolId, secret: InviteSecret, addresses: tuple[str, ...] | list[str]) -> str:
    """The code, one upper-case word. Only the first few addresses find room.

    Raises:
        AddressFault: an address is not HOST:PORT.
    """
    kept = [parse_address(address) for address in addresses][:INVITE_ADDRESSES_MAX]
    body = bytes([_VERSION]) + base64.b32decode(pool.upper()) + secret.secret + bytes([len(kept)])
    body += b"".join(_packed(address) for address in kept)
    body += binascii.crc32(body).to_bytes(_CRC_BYTES, "big")
    number = int.from_bytes(body, "big") << (-len(body) * 8 % 5)
    length = (len(body) * 8 + 4) // 5
    return "".join(_ALPHABET[number >> (5 * place) & 31] for place in reversed(range(length)))


def decode_invite(text: str) -> InviteCode:
    """Read a code as people paste it: any case, with spaces, line breaks and dashes in it.

    Raises:
        InviteFault: empty, not a code, cut off or mistyped, or of a later version.
    """
    plain = "".join(text.split()).replace("-", "").upper()
    if not plain:
        raise InviteFault("the invite code is empty")
    if len(plain) > _CODE_CHARS_MAX:
        raise InviteFault("this is far too long for an invite code")
    number = 0
    for character in plain:
        place = _READS_AS.get(character)
        if place is None:
            raise InviteFault(f"{character!r} does not occur in invite codes")
        number = number << 5 | place
    size, spare = divmod(len(plain) * 5, 8)
    broken = InviteFault("the invite code is cut off or mistyped")
    if spare > 4 or number & ((1 << spare) - 1):
        raise broken
    body = (number >> spare).to_bytes(size, "big")
    if len(body) <= _CRC_BYTES or binascii.crc32(body[:-_CRC_BYTES]) != int.from_bytes(body[-_CRC_BYTES:], "big"):
        raise broken
    if body[0] != _VERSION:
        raise InviteFault("the invite code was made by a later version of Meerkat")
    return _unpacked(body[1:-_CRC_BYTES])


def _packed(address: Address) -> bytes:
    port = address.port.to_bytes(2, "big")
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        ip = None
    if ip is None or (isinstance(ip, ipaddress.IPv6Address) and ip.scope_id):
        host = address.host.encode("ascii")
        if len(host) >= _IPV4:
            raise AddressFault(f"{address}: the host's name is too long for an invite code") from None
        return bytes([len(host)]) + host + port
    return bytes([_IPV4 if ip.version == 4 else _IPV6]) + ip.packed + port


def _unpacked(rest: bytes) -> InviteCode:
    try:
        pool, rest = rest[:NODE_BYTES], rest[NODE_BYTES:]
        secret, rest = InviteSecret(rest[:INVITE_SECRET_BYTES]), rest[INVITE_SECRET_BYTES:]
        count, rest = rest[0], rest[1:]
        if count > INVITE_ADDRESSES_MAX:
            raise ValueError
        addresses = []
        for _ in range(count):
            kind, rest = rest[0], rest[1:]
            length = {_IPV4: 4, _IPV6: 16}.get(kind, kind)
            raw, port, rest = rest[:length], rest[length : length + 2], rest[length + 2 :]
            if len(raw) != length or len(port) != 2:
                raise ValueError
            host = str(ipaddress.ip_address(raw)) if kind in (_IPV4, _IPV6) else raw.decode("ascii")
            address = str(Address(host, int.from_bytes(port, "big")))
            parse_address(address)
            addresses.append(address)
        if rest:
            raise ValueError
    except (ValueError, IndexError):
        # The check sum was right: this was not mistyped, it was made wrong.
        raise InviteFault("this is not an invite code") from None
    return InviteCode(PoolId(base64.b32encode(pool).decode("ascii").lower()), secret, tuple(addresses))
