"""What makes a folder a node, and every way in which a folder can be wrong for one."""

from pathlib import Path

import pytest

from meerkat.model.fault import Exit, Fault
from meerkat.node.home import is_node, open_home


def made_node(folder: Path) -> None:
    with open_home(folder) as home:
        home.config.pool = "p" * 32
        home.save()


def test_configuration_comes_back(tmp_path: Path) -> None:
    """What was kept is read again, keys that are not ours too, whatever characters a name has."""
    with open_home(tmp_path) as home:
        assert not is_node(tmp_path)
        home.config.name = 'ada "the first" ü'
        home.config.listen = "127.0.0.1:7447"
        home.config.advertise = ["nas.example.net:7447"]
        home.config.others = {"colour": "blue", "limit": 3}
        home.save()
        assert (tmp_path / ".meerkat").stat().st_mode & 0o777 == 0o700
    assert is_node(tmp_path)
    with open_home(tmp_path) as home:
        assert home.config.name == 'ada "the first" ü'
        assert home.config.advertise == ["nas.example.net:7447"]
        assert home.config.others == {"colour": "blue", "limit": 3}


def test_two_nodes_never_share_a_folder(tmp_path: Path) -> None:
    """The second is told that one runs; after the first has ended, the folder is free."""
    with open_home(tmp_path), pytest.raises(Fault) as fault:
        open_home(tmp_path)
    assert fault.value.code == "already_running"
    open_home(tmp_path).close()


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    """Missing, not a folder, inside another node's: each with a code of its own, and nothing is made."""
    made_node(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "inner" / "deep").mkdir(parents=True)
    for folder, code in ((tmp_path / "none", "folder_missing"), (tmp_path / "file", "not_a_folder")):
        with pytest.raises(Fault) as fault:
            open_home(folder)
        assert fault.value.code == code
        assert fault.value.hint
    with pytest.raises(Fault) as nested:
        open_home(tmp_path / "inner" / "deep")
    assert (nested.value.code, nested.value.exit_code) == ("nested", Exit.REFUSED)
    assert not (tmp_path / "inner" / "deep" / ".meerkat").exists()


@pytest.mark.parametrize("text", ["name = ", "listen = 3\n", 'advertise = "x"\n', "\udcff"])
def test_damaged_configuration_is_said(tmp_path: Path, text: str) -> None:
    """It is never overwritten, and the lock is given back."""
    made_node(tmp_path)
    file = tmp_path / ".meerkat" / "node.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    for _ in range(2):
        with pytest.raises(Fault) as fault:
            open_home(tmp_path)
        assert fault.value.code == "config_damaged"
    assert file.read_bytes() == text.encode("utf-8", "surrogateescape")


def test_a_folder_stops_being_a_node(tmp_path: Path) -> None:
    """Key, roster, index and configuration go; trash and log stay."""
    made_node(tmp_path)
    with open_home(tmp_path) as home:
        (home.path / "trash" / "kept").write_text("x")
        (home.path / "identity" / "key").write_text("x")
        home.index.write_bytes(b"x")
        home.forget()
    assert not is_node(tmp_path)
    left = sorted(each.relative_to(tmp_path / ".meerkat").as_posix() for each in (tmp_path / ".meerkat").rglob("*"))
    assert left == ["lock", "log", "trash", "trash/kept"]
