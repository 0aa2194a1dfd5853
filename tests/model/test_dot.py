"""Vectors form a lattice; dots lie in them or not."""

from hypothesis import given
from hypothesis import strategies as st
from strategies import dots, vectors

from meerkat.model.dot import Dot, Vector, beyond, difference, dominates, joined, knows, lowered, restored


def covers_same(one: Vector, other: Vector) -> bool:
    return dominates(one, other) and dominates(other, one)


@given(vectors, vectors, vectors)
def test_join_is_a_least_upper_bound(a: Vector, b: Vector, c: Vector) -> None:
    """Commutative, associative, idempotent, above both, and below everything that is above both."""
    assert joined(a, b) == joined(b, a)
    assert joined(a, joined(b, c)) == joined(joined(a, b), c)
    assert joined(a, a) == a
    assert dominates(joined(a, b), a)
    assert dominates(joined(a, b), b)
    assert dominates(joined(joined(a, b), c), joined(a, b))
    if dominates(c, a) and dominates(c, b):
        assert dominates(c, joined(a, b))


@given(vectors, vectors, dots)
def test_a_dot_is_known_where_it_is_covered(a: Vector, b: Vector, dot: Dot) -> None:
    """The join knows what either knows, and a greater vector knows all that a lesser one does."""
    assert knows(joined(a, b), dot) == (knows(a, dot) or knows(b, dot))
    assert knows(a, dot) == dominates(a, {dot.author: dot.seq})
    if dominates(a, b) and knows(b, dot):
        assert knows(a, dot)


@given(vectors, vectors)
def test_beyond_is_what_is_missing(upper: Vector, lower: Vector) -> None:
    """Nothing is beyond exactly when it is dominated; what is beyond, joined, makes up the difference."""
    assert (beyond(upper, lower) == {}) == dominates(lower, upper)
    assert covers_same(joined(lower, beyond(upper, lower)), joined(lower, upper))


@given(vectors, st.lists(dots, max_size=5))
def test_lowered_covers_none_of_the_missing(vector: Vector, missing: list[Dot]) -> None:
    """The result is below the vector, knows no missing dot, and is the greatest such."""
    result = lowered(vector, missing)
    assert dominates(vector, result)
    assert not any(knows(result, dot) for dot in missing)
    for author, seq in result.items():
        if seq < vector[author]:
            assert any(dot.author == author and dot.seq == seq + 1 for dot in missing)


@given(vectors, vectors)
def test_a_difference_leads_from_one_to_the_other(a: Vector, b: Vector) -> None:
    """Whichever way; between equal vectors there is none, and then they are one."""
    named = {author: seq for author, seq in a.items() if seq}
    assert restored(difference(named, b), b) == named
    assert difference(b, b) == {}
    assert restored({}, b) is b


@given(vectors, vectors)
def test_inputs_are_left_alone(a: Vector, b: Vector) -> None:
    """Vectors are shared freely, so no function may change the one it was given."""
    before = dict(a), dict(b)
    joined(a, b)["x"] = 1  # type: ignore[index]
    beyond(a, b)
    restored(difference(a, b), b)
    lowered(a, [Dot(author, seq) for author, seq in b.items()])
    assert (a, b) == before
