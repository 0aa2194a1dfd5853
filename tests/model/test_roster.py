"""The operations of the roster as values."""

from meerkat.model.ids import NodeId, PoolId
from meerkat.model.roster import InviteOp, Shown


def test_printing_an_invite_gives_nothing_away() -> None:
    """The proof key, with which one could pose as the pool, and certificates stay out of logs."""
    shown = Shown(b"certificate", bytes(32), NodeId("a" * 32))
    invite = InviteOp(bytes(32), PoolId("p" * 32), bytes(32), shown, b"proof key", 1, 2, 3, "ada")
    assert "proof key" not in repr(invite)
    assert "b'certificate'" not in repr(invite)
