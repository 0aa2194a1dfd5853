"""`meerkat scrub`."""

from typing import Any

import pytest

from meerkat.cli.main import run


@pytest.mark.parametrize(
    ("rotten", "code", "shown"),
    [
        ([], 0, "all sound"),
        ([{"path": "a", "healed": True, "text": "healed from a member"}], 0, "1 rotten"),
        ([{"path": "a", "healed": False, "text": "nobody has sound bytes"}], 7, "nobody has sound bytes"),
    ],
)
def test_a_scrub_says_what_it_read_and_found(
    node: Any, rotten: list[dict[str, Any]], code: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could not be healed needs a person."""
    node.answers["scrub"] = {"files": 3, "bytes": 2000, "seconds": 0.5, "rotten": rotten}
    assert run(["scrub"]) == code
    assert shown in capsys.readouterr().out
