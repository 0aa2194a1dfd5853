"""Names in the stage: which can be dropped by their names alone, and which never."""

from node_rooms import file_version, path

from meerkat.model.ids import Digest
from meerkat.model.version import Kind, Version
from meerkat.node.stage_names import is_download, is_made, is_out, may_hold, out_name, own_name, path_tag, stage_name

FILE, LINK = file_version(b"some text"), Version(Kind.SYMLINK, target="there")
A, B = path("a.txt"), path("d/b.txt")


def test_a_download_is_found_again() -> None:
    """The same content for the same path has the same name in every life; another content or path has another."""
    name = stage_name(A, FILE)
    assert name == stage_name(A, FILE)
    assert name not in (stage_name(B, FILE), stage_name(A, file_version(b"other")))
    assert is_download(name)
    assert may_hold(name, Digest(FILE.content.ident))
    assert not may_hold(name, Digest(b"x" * 32))


def test_what_is_exchanged_is_no_download() -> None:
    """Once a person's bytes may lie there, the name is none that is dropped, and leads back to the download's."""
    for name in (stage_name(A, FILE), stage_name(A, LINK), f"folder.{path_tag(A)}"):
        out = out_name(name)
        assert is_out(out)
        assert not is_out(name)
        assert not is_download(out)
        assert not is_made(out)
        assert own_name(out) == own_name(name) == name
    assert not may_hold(out_name(stage_name(A, FILE)), Digest(FILE.content.ident))


def test_links_and_folders_are_made() -> None:
    """They hold nothing that was fetched; whatever else lies there is neither."""
    assert is_made(stage_name(A, LINK))
    assert is_made(f"folder.{path_tag(A)}")
    for other in (
        "back.1.x",
        f"old.{path_tag(A)}.3",
        "sound." + stage_name(A, FILE),
        "notes.txt",
        "link.",
        "folder.zz",
    ):
        assert not is_made(other)
        assert not is_download(other)
