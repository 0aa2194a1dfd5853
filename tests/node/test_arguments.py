"""What callers hand over is taken apart, and what is wrong is named."""

import pytest

from meerkat.model.fault import Exit, Fault
from meerkat.node.arguments import number, paths_in, text


def test_right_values_come_through() -> None:
    """Paths lose a closing slash; a missing number is its default."""
    assert text({"name": "x"}, "name") == "x"
    assert number({"timeout": 2}, "timeout", 60.0) == 2
    assert number({}, "timeout", 60.0) == 60.0
    assert paths_in({"paths": ["a/b/", "c"]}) == ["a/b", "c"]
    assert paths_in({}) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: text({}, "name"),
        lambda: text({"name": 3}, "name"),
        lambda: number({"timeout": "2"}, "timeout", 1),
        lambda: number({"timeout": True}, "timeout", 1),
        lambda: paths_in({"paths": "a"}),
        lambda: paths_in({"paths": ["../x"]}),
        lambda: paths_in({"paths": [".meerkat/index.db"]}),
    ],
    ids=["missing", "not text", "text", "truth", "not a list", "above", "inside .meerkat"],
)
def test_wrong_values_are_usage_faults(wrong: object) -> None:
    """No wrong value gets further than the door."""
    assert callable(wrong)
    with pytest.raises(Fault) as fault:
        wrong()
    assert fault.value.exit_code == Exit.USAGE
