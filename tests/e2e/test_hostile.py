"""A member that lies: whatever it says, nothing is written outside the folder, nothing of others is lost, the honest
nodes go on with each other, and the liar is named (G7, G9, G10, G11)."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from blake3 import blake3
from e2e.hostile import Line, Mallory, file_of, link_to
from e2e.pool import Node, Pool

from meerkat.model.dot import Author, Dot
from meerkat.model.frame import AskEntries, CarryFrame, EntriesPart, Give, Heads, IndexFrame, PieceAsk, Ping
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import CHUNK_BYTES_MAX, FILE_BYTES_MAX, HEIGHT_MAX, SIBLINGS_MAX, TIME_NS_MAX
from meerkat.model.member import NodeState, Summary
from meerkat.model.path import RelPath
from meerkat.model.recipe import Chunk, Recipe
from meerkat.model.version import Entry, Kind, Version
from meerkat.wire.identity import Identity
from meerkat.wire.v1 import pool_pb2 as pb

pytestmark = pytest.mark.e2e

MIB = 1 << 20
MEMORY_GROWTH_MAX = 250 * MIB


def honest(pool: Pool) -> tuple[Node, Node]:
    """Two honest nodes that hold a few files."""
    one = pool.start("one")
    two = pool.join("two", one)
    for number in range(20):
        one.path(f"kept-{number}").write_bytes(f"what one wrote {number}".encode())
    two.path("of-two").write_bytes(b"what two wrote")
    pool.wait_linked()
    pool.wait_equal()
    return one, two


def code_for(pool: Pool, node: Node, uses: int = 1) -> str:
    return pool.invite(node, "--uses", str(uses))


def ensure_syncing(pool: Pool, *nodes: Node) -> None:
    """What is written at one honest node still reaches the other, both ways."""
    for number, node in enumerate(nodes):
        name = f"still here {number} {random.randbytes(4).hex()}"
        node.path(name).write_bytes(name.encode())
        for other in nodes:
            pool.until(f"{name} reaches {other.name}", other.path(name).exists)


def ensure_newcomer(pool: Pool, through: Node) -> None:
    """Nothing that was believed of the liar keeps an honest newcomer from getting everything from honest nodes."""
    newcomer = pool.join("newcomer", through)
    name = random.randbytes(4).hex()
    through.path(name).write_bytes(b"after all that")
    pool.until("the newcomer gets what is new", lambda: newcomer.path(name).exists())
    newcomer.path(f"back-{name}").write_bytes(b"and the other way")
    pool.until("and tells what it writes", lambda: through.path(f"back-{name}").exists())


def log_of(node: Node) -> str:
    return (node.folder / ".meerkat" / "log" / "meerkat.log").read_text("utf-8", "replace")


def everywhere(nodes: tuple[Node, ...]) -> set[bytes]:
    """Every file's bytes in trees and trashes."""
    found = set()
    for node in nodes:
        for place, folders, files in os.walk(node.folder):
            if os.path.basename(place) == ".meerkat":
                folders[:] = ["trash"]
                continue
            found |= {Path(place, name).read_bytes() for name in files if not os.path.islink(f"{place}/{name}")}
    return found


def version_of(**fields: object) -> pb.Version:
    given: dict[str, object] = {"author": 0, "seq": 1, "kind": pb.KIND_FOLDER, "mode": 0o755, "height": 1}
    version = pb.Version()
    for name, value in {**given, **fields}.items():
        setattr(version, name, value)
    return version


def part_of(path: str, **fields: object) -> bytes:
    author = pb.Author(node=bytes(20), epoch=1)
    part = pb.Part(authors=[author], entries=[pb.Entry(path=path, siblings=[version_of(**fields)])])
    return pb.Query(id=1, part=part).SerializeToString()


NONSENSE: list[tuple[str, bytes]] = [
    *(
        ("Index", part_of(path))
        for path in (
            "../outside",
            "a/../../outside",
            "/outside",
            "a//b",
            "a/./b",
            "a/",
            "a\0b",
            ".meerkat",
            ".meerkat/node.toml",
            "a/.MeerKat/x",
            ".meer\u200bkat/x",
            "x" * 256,
            "/".join("d" * 300),
            "/".join(["x" * 200] * 30),
        )
    ),
    ("Index", part_of("f", kind=pb.KIND_FILE, digest=bytes(32), mode=0o4755)),
    ("Index", part_of("f", kind=pb.KIND_FILE, digest=bytes(32), mode=0o100644)),
    ("Index", part_of("f", kind=pb.KIND_FILE, digest=bytes(32), size=(1 << 64) - 1)),
    ("Index", part_of("f", kind=pb.KIND_FILE, digest=bytes(32), size=MIB)),
    ("Index", part_of("f", kind=pb.KIND_FILE, digest=bytes(31))),
    ("Index", part_of("f", mtime_ns=(1 << 63) - 1)),
    ("Index", part_of("f", mtime_ns=-(1 << 63))),
    ("Index", part_of("f", height=(1 << 64) - 1)),
    ("Index", part_of("f", seq=0)),
    ("Index", part_of("f", author=7)),
    ("Index", part_of("l", kind=pb.KIND_SYMLINK, mode=0, target=b"")),
    ("Index", part_of("l", kind=pb.KIND_SYMLINK, mode=0, target=b"a\0b")),
    ("Index", part_of("l", kind=pb.KIND_SYMLINK, mode=0, target=b"x" * MIB)),
    ("Index", b"\xff" * 100),
    ("Link", b"\xff" * 100),
    ("Link", pb.Frame(roster=pb.Roster(ops=[pb.SignedOp(body=bytes(5000))])).SerializeToString()),
    ("Link", pb.Frame(summary=pb.Summary(node=b"short")).SerializeToString()),
    ("Link", pb.Frame(bye=pb.Bye(text="x" * 5000)).SerializeToString()),
    ("Carry", b"\xff" * 100),
    ("Carry", pb.Parcel(id=1, give=pb.Give(data=[bytes(CHUNK_BYTES_MAX + 1)])).SerializeToString()),
    ("Carry", pb.Parcel(id=1, ask=pb.PieceAsk(pieces=[pb.Piece(object=b"x")])).SerializeToString()),
    ("Carry", pb.Parcel(id=1, ask=pb.PieceAsk(sketches=[pb.Sketch(piece=1, salt=bytes(8))])).SerializeToString()),
    ("Carry", pb.Parcel(id=1, give=pb.Give(data=[b"\xff" * 9], codecs=[pb.CODEC_DELTA])).SerializeToString()),
]


def test_nonsense_is_cut_and_named(pool: Pool) -> None:
    """Each frame that no honest member sends ends its sender's link, with the reason in the roster and in the log;
    nothing of it comes to the disk."""
    one, two = honest(pool)
    before = pool.reader.read(one.folder)
    code = code_for(pool, one, len(NONSENSE))
    for number, (stream, data) in enumerate(NONSENSE):
        with Mallory(f"mallory-{number}", code, one) as mallory:
            line = mallory.dial(one)
            line.say(stream, data)
            line.await_cut()
    pool.until("the last one is cut off", lambda: pool.roster(one)[f"mallory-{len(NONSENSE) - 1}"]["cause"])
    rows = pool.roster(one)
    log = log_of(one)
    for number in range(len(NONSENSE)):
        row = rows[f"mallory-{number}"]
        assert row["link"] is None
        assert "it broke the rules" in row["cause"], (NONSENSE[number], row)
        assert f"mallory-{number} (" in log
    assert pool.reader.read(one.folder) == before
    assert sorted(os.listdir(pool.base)) == ["one", "two"]
    ensure_syncing(pool, one, two)


def test_who_goes_on_breaking_the_rules_rests_longer(pool: Pool) -> None:
    """The second link of a member that was just cut is refused, with the reason: no endless loop of dialling."""
    one, two = honest(pool)
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        line = mallory.dial(one)
        line.greet()
        line.await_cut()  # its last words may not come through; the roster keeps them
        pool.until("the reason is kept", lambda: "greeted twice" in str(pool.roster(one)["mallory"]["cause"]))
        again = mallory.streams(one)
        heard = again.await_cut()
        assert not heard or "greeted twice" in heard
        pool.until("it is cut off again", lambda: pool.roster(one)["mallory"]["link"] is None)
        assert "greeted twice" in pool.roster(one)["mallory"]["cause"]
    ensure_syncing(pool, one, two)


@pytest.mark.parametrize("order", ["link first", "file first", "at once", "siblings"])
def test_a_link_and_what_lies_below_it(pool: Pool, tmp_path: Path, order: str) -> None:
    """`a` as a link to a folder outside, and `a/x` below it, in every order: nothing is written through the link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    one, two = honest(pool)
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        line = mallory.dial(one)
        line.has(b"planted")
        link, file = link_to(str(outside)), file_of(b"planted")
        match order:
            case "link first":
                line.tell([line.entry("a", link)])
                pool.until("the link is there", lambda: one.path("a").is_symlink())
                line.tell([line.entry("a/x", file)])
            case "file first":
                line.tell([line.entry("a/x", file)])
                pool.until("the file is there", lambda: one.path("a/x").exists())
                line.tell([line.entry("a", link)])
            case "at once":
                line.tell([line.entry("a", link), line.entry("a/x", file)])
            case _:
                folder = Version(Kind.FOLDER, mode=0o755)
                line.tell([line.entry("a", link, folder, file), line.entry("a/x", file, link)])
        pool.until("it has arrived", lambda: os.path.lexists(one.path("a/x")) and not one.path("a").is_symlink())
        ensure_syncing(pool, one, two)
    pool.wait_equal(one, two)
    assert list(outside.iterdir()) == []


SWAPPER = """
import os, sys
folder, outside = sys.argv[1:]
os.chdir(folder)
print("ready", flush=True)
for _ in range(10**9):
    try:
        os.rename("p", "held")
        os.symlink(outside, "p")
        os.unlink("p")
        os.rename("held", "p")
    except OSError:
        try:
            if os.path.islink("p"):
                os.unlink("p")
            elif os.path.isdir("held") and not os.path.lexists("p"):
                os.rename("held", "p")
            elif not os.path.lexists("p"):
                os.mkdir("p")
        except OSError:
            pass
"""


@contextmanager
def swapping(folder: Path, outside: Path) -> Iterator[None]:
    """A process that swaps the folder `p` for a link to elsewhere and back, as fast as it can."""
    process = subprocess.Popen([sys.executable, "-c", SWAPPER, str(folder), str(outside)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for link in (folder / "p",):
            if link.is_symlink():
                link.unlink()


LACKING = """
import sys
from meerkat.disk import platform
platform.lacking.update(("openat2", "renameat2", "syncfs", "copy_file_range"))
from meerkat.cli.main import main
main()
"""


@pytest.mark.parametrize("calls", ["kernel", "fallback"])
def test_a_folder_that_is_swapped_for_a_link_all_the_time(pool: Pool, tmp_path: Path, calls: str) -> None:
    """While files are put down in `p` and read from it, `p` is a link to elsewhere half of the time: nothing is ever
    written there, nothing of what lies there is ever shared; with the kernel's calls and with their fallbacks."""
    outside = tmp_path / "outside"
    outside.mkdir()
    secrets = {f"n{number}": f"secret {number}".encode() for number in range(40)}
    for name, secret in secrets.items():
        (outside / name).write_bytes(secret)
    before = pool.reader.read(outside)
    if calls == "fallback":
        pool.program = (sys.executable, "-c", LACKING)
    one, two = honest(pool)
    one.path("p").mkdir()
    pool.until("the folder is there", lambda: two.path("p").is_dir())
    with swapping(one.folder, outside):
        for turn in range(6):
            for number in range(40):
                two.path("p").mkdir(exist_ok=True)
                try:
                    two.path(f"p/n{number}").write_bytes(b"%d %d" % (turn, number) * 200)
                except OSError:
                    pass  # the swaps come here as well: the folder may be gone just now
            ensure_syncing(pool, one, two)
            assert pool.reader.read(outside) == before
    ensure_syncing(pool, one, two)
    assert pool.reader.read(outside) == before
    assert everywhere((one, two)).isdisjoint(secrets.values())


def test_a_context_that_covers_what_was_never_told(pool: Pool) -> None:
    """A member claims to know everything and to have nothing: what that takes away from a disk goes to the trash."""
    one, two = honest(pool)
    written = {f"what one wrote {number}".encode() for number in range(20)}
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        line = mallory.streams(one)
        line.greet(context={}, floor={})
        assert line.hello is not None
        lie = {author: seq + (author.node != one.id) * 1000 for author, seq in line.hello.context.items()}
        line.author = Author(mallory.identity.node, 1)
        line.context = lie
        line.tell([line.entry("kept-0", file_of(b"planted"))], context=lie)
        line.has(b"planted")
        pool.until("it was asked", lambda: line.asks > 0)
        ensure_syncing(pool, one)
    assert written <= everywhere((one, two))
    ensure_newcomer(pool, one)


def test_who_knows_the_same_and_has_nothing(pool: Pool) -> None:
    """A member greets with the victim's own context and another fingerprint, and says that its whole index is empty, as
    one with a damaged index would: nothing leaves the folders."""
    one, two = honest(pool)
    before = pool.reader.read(one.folder)
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        line = mallory.streams(one)
        mallory.until(lambda: line.hello is not None)
        line.greet()
        pool.until("it was asked", lambda: line.asks > 0)
        ensure_syncing(pool, one, two)
        pool.wait_equal(one, two)
    after = pool.reader.read(one.folder)
    assert {path: after.get(path) for path in before} == before


def _heard_news(line: Line, known: list[Author]) -> bool:
    return line.over or any(author not in known and author.node == line.node for author in line.context)


def test_claims_about_writes_of_the_victim(pool: Pool) -> None:
    """Greeting after greeting claims writes that the node never made: it keeps what it has, takes a new epoch or two,
    and then takes the liar for one."""
    one, two = honest(pool)
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        seen = mallory.dial(one)
        for _ in range(4):
            # Of its life the liar hears in what the node says to it.
            own = [author for author in seen.context if author.node == one.id]
            liar = mallory.streams(one)
            liar.greet(context=dict.fromkeys(own, 1 << 60))
            seen = liar
            one.path("more").write_bytes(random.randbytes(8))
            pool.until("the node's new life is heard of", partial(_heard_news, liar, own))
            if liar.over:
                break
        pool.until("it is named", lambda: "claims writes of this node" in log_of(one))
    for number in range(20):
        assert one.path(f"kept-{number}").exists()
    ensure_syncing(pool, one, two)


@pytest.mark.parametrize("how", ["mute", "endless", "refusing"])
def test_who_announces_everything_and_tells_nothing(pool: Pool, how: str) -> None:
    """A member announces the newest writes of an honest one and tells none: they come from the honest one."""
    one, two = honest(pool)
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        line = mallory.dial(one)
        numbers = iter(range(1, 1 << 30))

        def endless(ask: AskEntries) -> Iterator[IndexFrame | bytes]:
            for _ in range(50):
                yield EntriesPart(ask.id, (line.entry(f"e{next(numbers):09}", file_of(b"x")),))

        scripts: dict[str, Callable[[AskEntries], Iterator[IndexFrame | bytes]]] = {
            "mute": lambda ask: iter(()),
            "endless": endless,
            "refusing": lambda ask: iter([pb.Query(id=ask.id, refusal=pb.Refusal(code="busy")).SerializeToString()]),
        }
        line.answer_entries = scripts[how]
        line.say("Link", Heads({author: seq + 1000 for author, seq in line.context.items() if author.node != one.id}))
        pool.until("it was asked", lambda: line.asks > 0)
        ensure_syncing(pool, one, two)


def test_floods_are_held_back(pool: Pool) -> None:
    """Pings, heads of thousands of authors, questions for everything and for pieces, rumours about members: memory
    stays bounded and the honest nodes go on."""
    one, two = honest(pool)
    memory = pool.status(one)["memory_bytes"]
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        line = mallory.dial(one)
        node = mallory.identity.node
        line.say("Link", *(Ping(number) for number in range(5000)))
        line.say("Index", *(AskEntries(number, {}, {}, True) for number in range(200)))
        for run in range(50):
            line.say("Link", Summary(NodeId(two.id), (1 << 64) - 1, run, NodeState.SYNCING, 9, 9, {}, {}))
            stranger = Identity.create().node
            line.say("Link", Summary(stranger, 1, run, NodeState.SYNCING, 9, 9, {}, {}))
        ensure_syncing(pool, one, two)
        mallory.run(line.hang_up())
        line = mallory.dial(
            one
        )  # the answers to pings are late behind such a flood, and who is late is let go unblamed
        for step in range(4):
            vector = {Author(node, (step << 32) + epoch): 1 for epoch in range(20_000)}
            if not line.say("Link", Heads(vector)):
                break
        line.await_cut()
    assert "more authors" in log_of(one), line.ends
    ensure_syncing(pool, one, two)
    rows = pool.roster(one)
    assert rows["two"]["state"] in ("up_to_date", "syncing")
    assert pool.status(one)["memory_bytes"] - memory < MEMORY_GROWTH_MAX


def test_versions_that_poison_whoever_believes_them(pool: Pool) -> None:
    """Versions at the ends of all ranges, and as many siblings as fit: whoever has taken them in still speaks to honest
    members, edits them, and is understood by newcomers."""
    one, two = honest(pool)
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        line = mallory.dial(one)
        top = file_of(b"the highest", height=HEIGHT_MAX)
        line.has(b"the highest", b"late", b"early")
        line.tell(
            [
                line.entry("early", file_of(b"early", mtime_ns=-TIME_NS_MAX)),
                line.entry("late", file_of(b"late", mtime_ns=TIME_NS_MAX)),
                line.entry("top", top),
            ]
        )
        pool.until("the highest version is there", lambda: one.path("top").exists() and two.path("top").exists())
        one.path("top").write_bytes(b"an edit of the highest")
        pool.until("the edit arrives", lambda: two.path("top").read_bytes() == b"an edit of the highest")
        for turn in range(4):
            crowd = [
                Version(
                    Kind.FILE, size=5, digest=Digest(blake3(b"%d %d" % (turn, number)).digest()), hist=(b"m" * 8,) * 60
                )
                for number in range(SIBLINGS_MAX)
            ]
            asked = line.asks
            line.tell([line.entry("crowd", *crowd)])
            pool.until("the crowd was asked for", partial(_more_asks, line, asked))
            ensure_syncing(pool, one, two)
    ensure_syncing(pool, one, two)
    ensure_newcomer(pool, two)


def _more_asks(line: Line, than: int) -> bool:
    return line.asks > than


def test_files_that_do_not_add_up(pool: Pool) -> None:
    """Sizes beyond any disk, recipes of crumbs, of too little, of another file: nothing is put down under those names,
    memory stays bounded, other files go on."""
    one, two = honest(pool)
    memory = pool.status(one)["memory_bytes"]
    chunk = bytes(range(256)) * 4096
    digest = Digest(blake3(chunk).digest())
    crumbs = (b"d" * 32 + (1).to_bytes(4, "big")) * 200_000
    short = Recipe((Chunk(digest, 0, len(chunk)),)).pack()
    double = Recipe((Chunk(digest, 0, len(chunk)), Chunk(digest, len(chunk), len(chunk)))).pack()
    recipes = {Digest(blake3(packed).digest()): packed for packed in (crumbs, short, double)}
    by_packed = {packed: key for key, packed in recipes.items()}
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        line = mallory.dial(one)

        def answer(ask: PieceAsk) -> list[CarryFrame | bytes]:
            told: list[CarryFrame | bytes] = []
            for index, piece in enumerate(ask.pieces):
                whole = recipes.get(piece.object, b"") if piece.recipe else chunk
                told.append(Give(ask.id, index, (whole[piece.offset : piece.offset + piece.length],)))
            return told

        line.answer_pieces = answer
        wrong = Digest(b"w" * 32)
        line.tell(
            [
                line.entry("crumbs", Version(Kind.FILE, size=200_000 + MIB, digest=wrong, recipe=by_packed[crumbs])),
                line.entry("huge", Version(Kind.FILE, size=FILE_BYTES_MAX, digest=wrong, recipe=by_packed[short])),
                line.entry("other", Version(Kind.FILE, size=2 * MIB, digest=wrong, recipe=by_packed[double])),
                line.entry("short", Version(Kind.FILE, size=2 * MIB, digest=wrong, recipe=by_packed[short])),
            ]
        )
        pool.until("huge is told", lambda: {"huge"} <= {each["path"] for each in pool.status(one)["problems"]})
        pool.until(
            "the others are told",
            lambda: {"other", "short"} <= {each["path"] for each in pool.status(one)["problems"]},
        )
        ensure_syncing(pool, one, two)
    for name in ("crumbs", "huge", "other", "short"):
        assert not os.path.lexists(one.path(name))
    assert pool.status(one)["memory_bytes"] - memory < MEMORY_GROWTH_MAX


def test_a_liar_among_three_holders(pool: Pool) -> None:
    """One member gives wrong bytes of the right length, one says nothing, one says that it lacks them: the file arrives
    right from the honest one, and the liar is named and cut."""
    one, two = honest(pool)
    code = code_for(pool, one, 3)
    with (
        Mallory("liar", code, one) as liar,
        Mallory("mute", code, one) as mute,
        Mallory("lacking", code, one) as lacking,
    ):
        pool.until("two knows them", lambda: {"liar", "mute", "lacking"} <= pool.roster(two).keys())
        lines: list[Line] = [each.dial(two) for each in (liar, mute, lacking)]
        lines[0].answer_pieces = lambda ask: [
            Give(ask.id, index, (bytes(piece.length),)) for index, piece in enumerate(ask.pieces)
        ]
        lines[1].answer_pieces = lambda ask: []
        contents = {f"twin-{number}": random.Random(number).randbytes(3000) for number in range(12)}
        lines[0].tell([lines[0].entry(name, file_of(data)) for name, data in sorted(contents.items())])
        pool.until("the liar was asked", lambda: "gave wrong bytes" in log_of(two))
        for name, data in contents.items():
            one.path(name).write_bytes(data)
        for number in range(200):
            one.path(f"small-{number}").write_bytes(random.Random(number).randbytes(2000))
        pool.put_big(one, "big", 24 * MIB)
        pool.until(
            "the big file arrives",
            lambda: two.path("big").exists() and two.path("big").read_bytes() == one.path("big").read_bytes(),
            180.0,
        )
        pool.wait_equal(one, two, timeout_s=180.0)
        assert "gave wrong bytes" in log_of(two)
        assert "liar (" in log_of(two)
        assert "other bytes" in str(pool.roster(two)["liar"]["cause"])
    ensure_syncing(pool, one, two)


def test_links_that_are_never_finished(pool: Pool) -> None:
    """One member opens streams by the hundred that never become a link: others still get theirs."""
    one, two = honest(pool)
    with Mallory("mallory", code_for(pool, one), one) as mallory:
        for _ in range(60):
            mallory.streams(one, "Link")
        pool.stop(two)
        pool.restart(two)
        pool.wait_linked(one, two)
        ensure_syncing(pool, one, two)


def test_one_dot_with_two_contents(pool: Pool) -> None:
    """The same write is told to two nodes with different bytes: neither ends, neither loses what a person wrote."""
    one, two = honest(pool)
    code = code_for(pool, one)
    with Mallory("mallory", code, one) as mallory:
        author = Author(mallory.identity.node, 7)
        for node, data in ((one, b"to one"), (two, b"to two")):
            pool.until("it is known", lambda node=node: "mallory" in pool.roster(node))  # type: ignore[misc]
            line = mallory.dial(node)
            line.author = author
            line.has(data)
            told = Entry(RelPath("twofold"), {Dot(author, 1): file_of(data)})
            line._seq = 1
            line.tell([told])
        ensure_syncing(pool, one, two)
    assert {f"what one wrote {number}".encode() for number in range(20)} <= everywhere((one,))
