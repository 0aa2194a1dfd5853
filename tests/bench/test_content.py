"""What is synchronised, when it has arrived, and whether it is the same."""

from pathlib import Path

import pytest

from bench.content import Arrival, NotEqual, await_that, judge, write_many, write_random


def test_an_arrival_is_complete_with_the_last_file(tmp_path: Path) -> None:
    """Every file counts, and somebody's unfinished one does not stand for it."""
    write_many(tmp_path / "all", 130, 8)
    arrival = Arrival(tmp_path / "all", 130)
    last = tmp_path / "all" / "0001" / "029.bin"
    last.rename(last.with_name(".029.bin.part"))
    assert not arrival.complete()
    last.with_name(".029.bin.part").rename(last)
    assert arrival.complete()
    assert not Arrival(tmp_path / "all", 131).complete()
    assert not Arrival(tmp_path / "nowhere", 1).complete()


def test_the_same_seed_fills_folders_alike(tmp_path: Path) -> None:
    """Nodes that start with the same files have the same times, too; without a seed nothing is the same twice."""
    for name, seed in (("a", 1), ("b", 1), ("c", None), ("d", None)):
        write_many(tmp_path / name, 3, 64, seed)
    judge([tmp_path / "a", tmp_path / "b"])
    times = {(tmp_path / name / "0000" / "002.bin").stat().st_mtime_ns for name in "ab"}
    assert len(times) == 1
    with pytest.raises(NotEqual):
        judge([tmp_path / "c", tmp_path / "d"])


def test_one_different_byte_is_found(tmp_path: Path) -> None:
    """The judge reads everything."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    write_random(tmp_path / "a" / "file", 100_000)
    data = bytearray((tmp_path / "a" / "file").read_bytes())
    (tmp_path / "b" / "file").write_bytes(data)
    judge([tmp_path / "a", tmp_path / "b"])
    data[99_999] ^= 1
    (tmp_path / "b" / "file").write_bytes(data)
    with pytest.raises(NotEqual, match="file"):
        judge([tmp_path / "a", tmp_path / "b"])


def test_waiting_has_an_end() -> None:
    """What never comes is told as such."""
    with pytest.raises(TimeoutError):
        await_that(lambda: False, 0.001, 0.01)
