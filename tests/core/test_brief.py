"""Summaries as differences: what is told comes back, and what both ends know costs nothing."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meerkat.core.brief import shortened, weight, whole
from meerkat.model.dot import Author
from meerkat.model.ids import NodeId
from meerkat.model.member import NodeState, Summary

AUTHORS = [Author(NodeId(name * 32), 1) for name in "abcd"]
vectors = st.dictionaries(st.sampled_from(AUTHORS), st.integers(1, 5))


def summary(context: dict[Author, int], complete: dict[Author, int]) -> Summary:
    return Summary(NodeId("a" * 32), 1, 1, NodeState.SYNCING, 0, 0, complete, context)


@given(vectors, vectors, vectors)
def test_what_is_told_comes_back(
    context: dict[Author, int], complete: dict[Author, int], said: dict[Author, int]
) -> None:
    """Whatever the teller has said of itself before, and whichever of both knows more."""
    told = summary(context, complete)
    assert whole(shortened(told, said), said) == told


@given(vectors)
def test_who_is_level_needs_no_vectors(context: dict[Author, int]) -> None:
    """A node that has what the teller has, all of it on its disk, costs the same in a pool of any size, and its vectors
    are one with the teller's in memory, too."""
    brief = shortened(summary(context, dict(context)), dict(context))
    assert (brief.context, brief.complete) == ({}, {})
    assert weight(brief) == weight(shortened(summary({}, {}), {}))
    again = whole(brief, context)
    assert again.context is context
    assert again.complete is context


def test_what_takes_room_is_weighed() -> None:
    """Differences and reasons make a frame end sooner."""
    told = summary({AUTHORS[0]: 1}, {})
    assert (
        weight(shortened(told, {})) > weight(shortened(told, {AUTHORS[0]: 1})) > weight(shortened(summary({}, {}), {}))
    )
    assert weight(replace(told, reasons=(("p" * 100, "disk_full", "t" * 100),))) > weight(told) + 400
