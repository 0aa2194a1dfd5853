"""The roster on disk: one small file for each signed operation and record, and where each node was last reached.

It is apart from the index on purpose: a lost or damaged index must not cut a node off from its pool, and a roster is
a set, so files that come and go one by one are all that it needs. Invariants: a file is whole or absent (written
beside, synced, renamed, the folder synced); a damaged one is set aside and costs that operation alone, which the other
members hand over again; nothing here judges signatures, that is `core.roster`'s part.

Layout: `<hex id>.op`, `<node>.record`, `<node>.seen`. An operation or record is `MAGIC`, the lengths of body and
signature (4 bytes each, big-endian), both, and SHA-256 over all before it.
"""

import hashlib
import os
import pathlib
import secrets
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from meerkat.model.frame import Signed
from meerkat.model.ids import NodeId, is_id
from meerkat.model.limits import ADDRESS_CHARS_MAX, ADDRESSES_MAX, ROSTER_OP_BYTES_MAX

_MAGIC = b"mkr1"
_SUM_BYTES = 32
_HEAD_BYTES = len(_MAGIC) + 8
_FILE_BYTES_MAX = 2 * ROSTER_OP_BYTES_MAX + ADDRESSES_MAX * ADDRESS_CHARS_MAX
_DAMAGED = ".damaged"
_PASSING = ".passing"


class RosterFileFault(ValueError):
    """A file of the roster that does not hold what it should."""


class StoredRoster(Struct, frozen=True):
    """What was found on disk.

    Attributes:
        ops, records: not yet parsed nor verified.
        seen: addresses (HOST:PORT) at which nodes were last reached, newest first.
        damaged: names of files that were set aside just now.
    """

    ops: list[Signed] = field(default_factory=list)
    records: dict[NodeId, Signed] = field(default_factory=dict)
    seen: dict[NodeId, tuple[str, ...]] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


class RosterStore:
    """The roster's files in `folder` (made, mode 0700, when missing). Blocking; one writer at a time."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> StoredRoster:
        """Everything on disk; files that are damaged are set aside, and rests of interrupted writes are removed.

        Raises:
            OSError: the folder or a file cannot be read.
        """
        stored = StoredRoster()
        for path in sorted(self._folder.iterdir()):
            if path.name.endswith(_PASSING):
                path.unlink(missing_ok=True)
                continue
            try:
                self._load_one(path, stored)
            except RosterFileFault:
                path.replace(path.with_name(path.name + _DAMAGED))
                stored.damaged.append(path.name)
        return stored

    def _load_one(self, path: pathlib.Path, stored: StoredRoster) -> None:
        match path.suffix:
            case ".op":
                signed = _unpacked(_read(path))
                if path.stem != hashlib.sha256(signed.body).hexdigest():
                    raise RosterFileFault("another operation's name")
                stored.ops.append(signed)
            case ".record":
                stored.records[_node(path.stem)] = _unpacked(_read(path))
            case ".seen":
                stored.seen[_node(path.stem)] = _unpacked_seen(_read(path))
            case _:
                pass  # set aside before, or somebody else's

    def put_ops(self, ops: Iterable[Signed]) -> None:
        """Keep the operations durably; those on disk already cost nothing."""
        names = {f"{hashlib.sha256(signed.body).hexdigest()}.op": signed for signed in ops}
        self._put({name: _packed(one) for name, one in names.items() if not (self._folder / name).exists()})

    def put_op(self, signed: Signed) -> None:
        """Keep one operation durably."""
        self.put_ops([signed])

    def put_record(self, node: NodeId, signed: Signed) -> None:
        """Keep the newest record of `node` durably, instead of an older one."""
        self._put({f"{node}.record": _packed(signed)})

    def put_seen(self, node: NodeId, addresses: Sequence[str]) -> None:
        """Keep where `node` was last reached, newest first; only the first few find room."""
        lines = "".join(f"{address}\n" for address in addresses[:ADDRESSES_MAX])
        self._put({f"{node}.seen": lines.encode("utf-8")})

    def drop_op(self, op_id: bytes) -> None:
        """Forget an operation that turned out to be signed by nobody."""
        (self._folder / f"{op_id.hex()}.op").unlink(missing_ok=True)

    def _put(self, files: dict[str, bytes]) -> None:
        """Write each file beside its place and sync it, then rename all, then sync the folder once."""
        if not files:
            return
        passing: dict[pathlib.Path, pathlib.Path] = {}
        try:
            for name, data in files.items():
                beside = self._folder / f".{secrets.token_hex(8)}{_PASSING}"
                passing[beside] = self._folder / name
                handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            for beside, place in passing.items():
                beside.replace(place)
        except BaseException:
            for beside in passing:
                beside.unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _node(stem: str) -> NodeId:
    if not is_id(stem):
        raise RosterFileFault("not a node's name")
    return NodeId(stem)


def _read(path: pathlib.Path) -> bytes:
    if not path.is_file() or path.stat().st_size > _FILE_BYTES_MAX:
        raise RosterFileFault("not a small file")
    return path.read_bytes()


def _packed(signed: Signed) -> bytes:
    head = _MAGIC + len(signed.body).to_bytes(4, "big") + len(signed.signature).to_bytes(4, "big")
    data = head + signed.body + signed.signature
    return data + hashlib.sha256(data).digest()


def _unpacked(data: bytes) -> Signed:
    content, check = data[:-_SUM_BYTES], data[-_SUM_BYTES:]
    if not content.startswith(_MAGIC) or len(content) < _HEAD_BYTES or hashlib.sha256(content).digest() != check:
        raise RosterFileFault("damaged")
    body_length = int.from_bytes(content[len(_MAGIC) : len(_MAGIC) + 4], "big")
    signature_length = int.from_bytes(content[len(_MAGIC) + 4 : _HEAD_BYTES], "big")
    if len(content) != _HEAD_BYTES + body_length + signature_length:
        raise RosterFileFault("lengths that do not add up")
    middle = _HEAD_BYTES + body_length
    return Signed(content[_HEAD_BYTES:middle], content[middle:])


def _unpacked_seen(data: bytes) -> tuple[str, ...]:
    try:
        addresses = tuple(data.decode("utf-8").splitlines())
    except UnicodeDecodeError:
        raise RosterFileFault("not text") from None
    fits = len(addresses) <= ADDRESSES_MAX and all(0 < len(address) <= ADDRESS_CHARS_MAX for address in addresses)
    if not fits:
        raise RosterFileFault("not addresses")
    return addresses
