"""Paths: nothing hostile gets through the one door, and the laws that the tree order stands on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import names, paths

from meerkat.model.limits import NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX
from meerkat.model.path import (
    ROOT,
    PathFault,
    RelPath,
    ancestors,
    check_name,
    is_below,
    join,
    name,
    parent,
    parse_path,
    tree_key,
)

HOSTILE = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/../b",
    "a/..",
    ".",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "/a",
    "a\0b",
    "\0",
    ".meerkat",
    ".meerkat/index.db",
    ".MEERKAT/x",
    ".Meer\u212aat/x",  # the Kelvin sign folds to k
    "a/.meerkat/identity/key",
    "a/.meer\u200bkat/x",  # what folds case skips what cannot be seen
    ".mee\ufe0frkat",
    "\u2024meerkat",
    ".\uff4deerkat",
    "a/\ud800",
    "x" * (NAME_BYTES_MAX + 1),
    "é" * (NAME_BYTES_MAX // 2 + 1),
    "/".join("a" * (PATH_DEPTH_MAX + 1)),
    "/".join(["x" * 200] * 21),
    "/".join(["é" * 100] * 21),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_never_becomes_a_path(text: str) -> None:
    """What could leave the folder, reach the node's own files or break a file system is refused."""
    with pytest.raises(PathFault):
        parse_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a/b",
        "...",
        "..a",
        "a..",
        ".hidden",
        ".meerkatignore",
        "meerkat",
        "a\\b",
        "C:",
        "\n",
        " ",
        "~",
        "*",
        "x" * 255,
    ],
)
def test_odd_but_honest_names_are_paths(text: str) -> None:
    """A name that only looks odd is a name: nothing is normalised."""
    assert parse_path(text) == text


@given(st.text(alphabet="./a\0é\ud800~\\", max_size=12) | st.text(max_size=40))
def test_whatever_becomes_a_path_is_safe(text: str) -> None:
    """Everything that gets through has clean components only and survives a round trip."""
    try:
        path = parse_path(text)
    except PathFault:
        return
    assert path == text
    assert not path.startswith("/")
    assert path.encode("utf-8").decode("utf-8") == path
    assert len(path.encode("utf-8")) <= PATH_BYTES_MAX
    for part in path.split("/"):
        assert part not in ("", ".", "..")
        assert "\0" not in part
        assert part.casefold() != ".meerkat"
        check_name(part)


@given(paths, names)
def test_join_and_parent_undo_each_other(folder: RelPath, last: str) -> None:
    """The parent of a joined path is the folder, its name the name; and parts joined again are the path."""
    path = join(folder, last)
    assert parent(path) == folder
    assert name(path) == last
    assert join(parent(path), name(path)) == path
    assert join(ROOT, last) == last


@given(paths)
def test_ancestors_are_the_folders_above(path: RelPath) -> None:
    """Nearest first, each the parent of the one before, without the root; the path is below each of them."""
    above = list(ancestors(path))
    assert above == [RelPath("/".join(path.split("/")[:depth])) for depth in range(path.count("/"), 0, -1)]
    assert all(is_below(path, folder) for folder in [*above, ROOT])
    assert not is_below(path, path)
    assert list(ancestors(ROOT)) == []
    assert parent(ROOT) == ROOT


@pytest.mark.parametrize(("path", "folder"), [("ab", "a"), ("a", "a"), ("", ""), ("", "a"), ("a", "a/b")])
def test_what_is_not_below(path: str, folder: str) -> None:
    """A common beginning is not a common folder, and nothing is below itself."""
    assert not is_below(RelPath(path), RelPath(folder))


@given(st.lists(paths, unique=True, max_size=12))
def test_tree_order_keeps_a_folder_with_its_contents(some: list[RelPath]) -> None:
    """Sorted by the tree key, a folder comes right before what is in it, and nothing else comes between."""
    everything = sorted({folder for path in some for folder in [path, *ancestors(path)]}, key=tree_key)
    for at, folder in enumerate(everything):
        inside = [path for path in everything if is_below(path, folder)]
        assert everything[at + 1 : at + 1 + len(inside)] == inside


@given(paths, paths)
def test_tree_key_tells_paths_apart(one: RelPath, other: RelPath) -> None:
    """Different paths have different keys."""
    assert (tree_key(one) == tree_key(other)) == (one == other)
