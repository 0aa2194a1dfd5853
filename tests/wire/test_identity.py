"""Keys, certificates and node ids."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from meerkat.model.ids import is_id
from meerkat.wire.identity import (
    NOT_AFTER,
    NOT_BEFORE,
    CertificateFault,
    Identity,
    IdentityFault,
    check_certificate,
    fingerprint_of,
    node_id_of_key,
    node_of,
    verify,
)

ONE, OTHER = Identity.create(), Identity.create()


def forged(
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    name: str | None = None,
    ca: bool = False,
    not_after: datetime = NOT_AFTER,
) -> bytes:
    """A certificate over `key` that differs in some way from those that we make."""
    node = node_id_of_key(key.public_key()) if name is None else name
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_the_node_id_is_the_key() -> None:
    """A node's id follows from its public key, and its certificate shows it."""
    assert is_id(ONE.node)
    assert ONE.node == node_id_of_key(ONE.key.public_key()) == node_of(ONE.certificate)
    assert check_certificate(ONE.certificate) == ONE.node
    assert ONE.node != OTHER.node


def test_certificates_outlive_wrong_clocks() -> None:
    """A member whose clock is decades off still passes: dates span 2020 to 2199."""
    certificate = x509.load_der_x509_certificate(ONE.certificate)
    assert certificate.not_valid_before_utc == datetime(2020, 1, 1, tzinfo=UTC)
    assert certificate.not_valid_after_utc.year == 2199


def test_an_identity_survives_a_restart(tmp_path: Path) -> None:
    """What was saved is loaded again, readable by its owner alone."""
    folder = tmp_path / "identity"
    ONE.save(folder)
    loaded = Identity.load(folder)
    assert (loaded.node, loaded.fingerprint, loaded.certificate) == (ONE.node, ONE.fingerprint, ONE.certificate)
    assert verify(ONE.certificate, b"text", loaded.sign(b"text"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert sorted(os.listdir(folder)) == ["node.crt", "node.key"]


def test_no_identity_is_told_from_a_broken_one(tmp_path: Path) -> None:
    """A missing key means a new node; a damaged or foreign one must never silently become one."""
    with pytest.raises(FileNotFoundError):
        Identity.load(tmp_path)
    ONE.save(tmp_path)
    (tmp_path / "node.crt").write_bytes(OTHER.certificate_pem)
    with pytest.raises(IdentityFault, match="do not belong together"):
        Identity.load(tmp_path)
    (tmp_path / "node.crt").write_bytes(b"rubbish")
    with pytest.raises(IdentityFault, match=r"node\.crt is damaged"):
        Identity.load(tmp_path)
    (tmp_path / "node.key").write_bytes(b"rubbish")
    with pytest.raises(IdentityFault, match=r"node\.key is damaged"):
        Identity.load(tmp_path)


def test_the_key_stays_out_of_logs() -> None:
    """Printing an identity shows neither the key nor the certificate."""
    assert "key" not in repr(ONE).replace("key=", "")
    assert "certificate" not in repr(ONE)


def test_signatures_hold_for_one_key_and_one_text() -> None:
    """A signature by another key, over another text, or rubbish, does not hold; nor does anything for rubbish."""
    signature = ONE.sign(b"text")
    assert verify(ONE.certificate, b"text", signature)
    assert not verify(OTHER.certificate, b"text", signature)
    assert not verify(ONE.certificate, b"other", signature)
    assert not verify(ONE.certificate, b"text", b"")
    assert not verify(b"rubbish", b"text", signature)


@pytest.mark.parametrize(
    "certificate",
    [
        forged(OTHER.key, ONE.key),
        forged(ONE.key, ONE.key, name="somebody"),
        forged(ONE.key, ONE.key, name=OTHER.node),
        forged(ONE.key, ONE.key, ca=True),
        forged(ONE.key, ONE.key, not_after=NOT_AFTER - timedelta(days=1)),
        forged(ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())),
        ONE.certificate + b"\0",
        ONE.certificate[:-1],
        b"",
        bytes(5000),
    ],
    ids=["leaf", "name", "other-node", "authority", "dates", "curve", "longer", "shorter", "empty", "huge"],
)
def test_only_certificates_like_ours_pass(certificate: bytes) -> None:
    """Leaves signed by another key, wrong names, authorities, other curves and rubbish are refused."""
    with pytest.raises(CertificateFault):
        check_certificate(certificate)


@given(st.binary(max_size=600), st.integers(0, 400))
def test_rubbish_is_only_ever_a_certificate_fault(rubbish: bytes, at: int) -> None:
    """No bytes, random or a damaged certificate, provoke another error."""
    for data in (rubbish, ONE.certificate[:at] + rubbish[:2] + ONE.certificate[at + 2 :]):
        try:
            check_certificate(data)
        except CertificateFault:
            continue
        assert fingerprint_of(data)  # an untouched one passes
