"""Who a node is: a P-256 key, the self-signed certificate that shows it, and the id derived from the key.

Invariants: a node id is a function of the public key alone; a certificate that `check_certificate` passed names its
own key's node id, is signed by itself and cannot expire within our lifetimes (clocks of members may be years off, and
TLS refuses expired certificates even when they are pinned). Ed25519 would be smaller but does not handshake in grpcio.

Nothing here decides who may do what: TLS accepts leaves that a member's key has signed, so the roster is always asked
about the exact fingerprint.
"""

import base64
import hashlib
import os
import secrets
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meerkat.model.ids import NodeId
from meerkat.model.limits import CERTIFICATE_BYTES_MAX

NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2199, 12, 31, tzinfo=UTC)
NODE_BYTES = 20
FINGERPRINT_BYTES = 32
_KEY_FILE = "node.key"
_CERTIFICATE_FILE = "node.crt"


class CertificateFault(ValueError):
    """A certificate that Meerkat has not made; the message says what is wrong with it."""


class IdentityFault(Exception):
    """The identity on disk cannot be used; the message names the file and why."""


def node_id_of_key(key: ec.EllipticCurvePublicKey) -> NodeId:
    """The id of the node that holds the private half of `key`."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return NodeId(base64.b32encode(hashlib.sha256(spki).digest()[:NODE_BYTES]).decode("ascii").lower())


def self_signed(key: ec.EllipticCurvePrivateKey, serial: int, *, deterministic: bool = False) -> bytes:
    """A certificate over `key`'s public half, signed by it, DER. The same arguments and `deterministic` give the same
    bytes (RFC 6979)."""
    node = node_id_of_key(key.public_key())
    # The subject is unique for each key: where many roots shared one name, chain building would have to guess.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256(), ecdsa_deterministic=deterministic)
    return certificate.public_bytes(serialization.Encoding.DER)


def check_certificate(der: bytes) -> NodeId:
    """The node id of a certificate made by Meerkat.

    Raises:
        CertificateFault: not a certificate, not P-256, not self-signed, an authority, or naming another id.
    """
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise CertificateFault(f"the certificate is longer than {CERTIFICATE_BYTES_MAX} bytes")
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise CertificateFault("the certificate's key is not P-256")
        certificate.verify_directly_issued_by(certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        dates = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except InvalidSignature:
        raise CertificateFault("the certificate is not signed by its own key") from None
    except (ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension) as fault:
        if isinstance(fault, CertificateFault):
            raise
        raise CertificateFault(f"not a node's certificate: {fault}") from None
    except Exception as fault:  # UnsupportedAlgorithm and what else a hostile encoding may provoke in the parser
        raise CertificateFault(f"not a node's certificate: {type(fault).__name__}") from None
    node = node_id_of_key(key)
    if list(names) != [x509.DNSName(node)]:
        raise CertificateFault("the certificate does not name its key's node id")
    if authority or dates != (NOT_BEFORE, NOT_AFTER):
        raise CertificateFault("the certificate is an authority's or has other dates than ours")
    return node


def node_of(certificate_der: bytes) -> NodeId:
    """The node id of the key in a certificate that was checked before (or is our own).

    Raises:
        CertificateFault: not a P-256 certificate at all.
    """
    return node_id_of_key(_public_key(certificate_der))


def fingerprint_of(certificate_der: bytes) -> bytes:
    """SHA-256 of the certificate's DER, 32 bytes."""
    return hashlib.sha256(certificate_der).digest()


def pem_of(certificate_der: bytes) -> bytes:
    """The certificate as PEM, as grpcio wants it."""
    return ssl.DER_cert_to_PEM_cert(certificate_der).encode("ascii")


def verify(certificate_der: bytes, body: bytes, signature: bytes) -> bool:
    """True when `signature` (ECDSA P-256 over SHA-256, DER) over `body` was made by the certificate's key."""
    try:
        _public_key(certificate_der).verify(signature, body, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, CertificateFault):
        return False
    return True


def sign(key: ec.EllipticCurvePrivateKey, body: bytes) -> bytes:
    """An ECDSA P-256 signature over SHA-256 of `body`, DER."""
    return key.sign(body, ec.ECDSA(hashes.SHA256()))


def _public_key(certificate_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
    except Exception as fault:  # ValueError, UnsupportedAlgorithm, and what a hostile encoding may provoke
        raise CertificateFault(f"not a certificate: {type(fault).__name__}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateFault("the certificate's key is not P-256")
    return key


def key_pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as unencrypted PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """A node's own key and certificate.

    Attributes:
        certificate: DER.
        fingerprint: SHA-256 of it, 32 bytes.
    """

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: bytes = field(repr=False)
    fingerprint: bytes
    node: NodeId

    @classmethod
    def create(cls) -> Self:
        """A new node's identity."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls._of(key, self_signed(key, x509.random_serial_number()))

    @classmethod
    def _of(cls, key: ec.EllipticCurvePrivateKey, certificate: bytes) -> Self:
        return cls(key, certificate, fingerprint_of(certificate), node_id_of_key(key.public_key()))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The identity that `save` has put into `folder`.

        Raises:
            FileNotFoundError: there is none.
            IdentityFault: a file is damaged, or key and certificate do not belong together.
            OSError: it cannot be read.
        """
        try:
            key = serialization.load_pem_private_key((folder / _KEY_FILE).read_bytes(), password=None)
        except (ValueError, TypeError) as fault:
            raise IdentityFault(f"{folder / _KEY_FILE} is damaged: {fault}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise IdentityFault(f"{folder / _KEY_FILE} is not a P-256 key")
        try:
            certificate = ssl.PEM_cert_to_DER_cert((folder / _CERTIFICATE_FILE).read_text("ascii"))
            node = check_certificate(certificate)
        except ValueError as fault:
            raise IdentityFault(f"{folder / _CERTIFICATE_FILE} is damaged: {fault}") from None
        if node != node_id_of_key(key.public_key()):
            raise IdentityFault(f"key and certificate in {folder} do not belong together")
        return cls._of(key, certificate)

    def save(self, folder: Path) -> None:
        """Make `folder` (0700) hold this identity durably. The key comes last: with a key there is a certificate."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        _replace(folder / _CERTIFICATE_FILE, self.certificate_pem)
        _replace(folder / _KEY_FILE, self.key_pem)

    @property
    def key_pem(self) -> bytes:
        return key_pem_of(self.key)

    @property
    def certificate_pem(self) -> bytes:
        return pem_of(self.certificate)

    def sign(self, body: bytes) -> bytes:
        """An ECDSA P-256 signature over SHA-256 of `body`, DER."""
        return sign(self.key, body)


def _replace(path: Path, data: bytes) -> None:
    """Put `data` at `path` (0600) so that a crash leaves the old or the new file, and sync it and its folder."""
    passing = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        passing.replace(path)
    except BaseException:
        passing.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
