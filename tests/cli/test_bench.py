"""`bench`: every word goes to the harness, which is found where this installation has it."""

from pathlib import Path

import pytest

from meerkat.cli import bench
from meerkat.cli.main import run


def test_the_command_hands_every_word_on(capfd: pytest.CaptureFixture[str]) -> None:
    """`meerkat bench` is the same program: its help is the bench's, and its refusals are, too."""
    assert run(["bench", "--help"]) == 0
    assert "--scale" in capfd.readouterr().out
    assert run(["bench", "smal", "--runs", "1"]) == 2
    assert "smal" in capfd.readouterr().err


def test_an_installation_without_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the harness is missing, a person reads that and no traceback."""
    monkeypatch.setattr(bench, "SOURCE", tmp_path)
    monkeypatch.setattr(bench, "PACKAGED", "meerkat.nothing_of_that_name")
    assert run(["bench"]) == 1
    assert "came without the bench" in capsys.readouterr().err
