"""Finding the folder that is meant."""

from pathlib import Path

import pytest

from meerkat.cli.folder import find_folder, folder_to_start, path_in, split_folder
from meerkat.model.fault import Exit, Fault


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    (folder / ".meerkat").mkdir(parents=True)
    (folder / "docs" / "deep").mkdir(parents=True)
    return folder


def test_the_folder_is_found_from_below(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standing anywhere inside a node's folder is enough, as with git."""
    monkeypatch.chdir(pool / "docs" / "deep")
    assert find_folder(None) == pool
    assert folder_to_start(None) == str(pool)


def test_a_named_folder_must_be_a_nodes(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Naming a folder does not walk upwards: a folder inside another node's is not that node's."""
    monkeypatch.chdir(tmp_path)
    assert find_folder("pool") == pool
    with pytest.raises(Fault) as caught:
        find_folder("pool/docs")
    assert (caught.value.code, caught.value.exit_code) == ("not_a_node", Exit.NOT_RUNNING)
    assert "meerkat up" in caught.value.hint


def test_no_folder_anywhere_is_exit_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside any node's folder certainly no node runs, and `up` takes the current folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fault) as caught:
        find_folder(None)
    assert caught.value.exit_code == Exit.NOT_RUNNING
    assert folder_to_start(None) == str(tmp_path)


def test_the_first_argument_is_the_folder_only_if_it_is_a_nodes(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wait DIR PATH…` and `wait PATH…` are told apart by what the first word names."""
    monkeypatch.chdir(tmp_path)
    assert split_folder(["pool", "a.txt", "docs/b.txt"]) == (pool, ("a.txt", "docs/b.txt"))
    monkeypatch.chdir(pool / "docs")
    assert split_folder(["b.txt", "../a.txt"]) == (pool, ("docs/b.txt", "a.txt"))
    assert split_folder(["b.txt", ".."]) == (pool, ())
    assert split_folder([]) == (pool, ())


def test_a_path_in_a_nodes_folder_names_the_folder_too(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From outside, also of what is not there (any more); from within a node's folder, that folder is meant."""
    monkeypatch.chdir(tmp_path)
    assert split_folder(["pool/gone", "pool/docs/b.txt"]) == (pool, ("gone", "docs/b.txt"))
    assert split_folder([str(pool / "gone" / "deep")]) == (pool, ("gone/deep",))
    with pytest.raises(Fault, match="outside"):
        split_folder(["pool/gone", "elsewhere"])
    other = tmp_path / "other"
    (other / ".meerkat").mkdir(parents=True)
    monkeypatch.chdir(other)
    with pytest.raises(Fault, match="outside"):
        split_folder([str(pool / "gone")])
    monkeypatch.chdir("/")
    with pytest.raises(Fault) as caught:
        split_folder(["nowhere/at/all"])
    assert caught.value.exit_code == Exit.NOT_RUNNING


def test_a_link_is_meant_itself(pool: Path, tmp_path: Path) -> None:
    """A path that ends in a link names the link, also when the link points out of the folder."""
    (pool / "out").symlink_to(tmp_path)
    assert path_in(pool, "out", pool) == "out"


@pytest.mark.parametrize("text", ["../other", "/etc/passwd", "docs/../../other"])
def test_paths_outside_the_folder_are_a_usage_error(pool: Path, text: str) -> None:
    """A path that leaves the folder is refused before the node is asked."""
    with pytest.raises(Fault) as caught:
        path_in(pool, text, pool)
    assert caught.value.exit_code == Exit.USAGE


def test_the_nodes_own_folder_is_no_shared_path(pool: Path) -> None:
    """Nothing inside `.meerkat` can be waited for."""
    with pytest.raises(Fault) as caught:
        path_in(pool, ".meerkat/node.toml", pool)
    assert caught.value.code == "bad_path"
