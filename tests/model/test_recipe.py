"""Recipes: one packed form, and no lie gets through unpacking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import recipe_of, recipes

from meerkat.model import recipe as recipe_module
from meerkat.model.ids import DIGEST_BYTES, Digest
from meerkat.model.limits import CHUNK_BYTES_MAX, RECIPE_CHUNK_BYTES_AVERAGE_MIN
from meerkat.model.recipe import Recipe, RecipeFault, unpack_recipe

D = Digest(b"d" * DIGEST_BYTES)


@given(recipes)
def test_round_trip(recipe: Recipe) -> None:
    """What was packed comes out the same, offsets included."""
    assert unpack_recipe(recipe.pack(), recipe.size) == recipe


@given(st.binary(max_size=200), st.integers(0, 2**40))
def test_random_bytes_are_a_recipe_or_a_fault(packed: bytes, size: int) -> None:
    """Whatever a peer sends either adds up to the size or is refused."""
    try:
        recipe = unpack_recipe(packed, size)
    except RecipeFault:
        return
    assert recipe.size == size
    assert recipe.pack() == packed


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        (recipe_of([(D, 10)]).pack()[:-1], 10),
        (recipe_of([(D, 10)]).pack() + b"x", 10),
        (recipe_of([(D, 10)]).pack(), 11),
        (recipe_of([(D, 10)]).pack(), 9),
        (recipe_of([(D, 10), (D, 0)]).pack(), 10),
        (recipe_of([(D, CHUNK_BYTES_MAX + 1)]).pack(), CHUNK_BYTES_MAX + 1),
        (recipe_of([(D, 1)] * 100_000).pack(), 100_000),
        (b"", 1),
    ],
)
def test_lies_are_refused(packed: bytes, size: int) -> None:
    """Cut short, running over, not adding up, with empty or oversized chunks."""
    with pytest.raises(RecipeFault):
        unpack_recipe(packed, size)


def test_the_number_of_chunks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe of too many chunks is refused before it is taken apart."""
    monkeypatch.setattr(recipe_module, "RECIPE_CHUNKS_MAX", 2)
    least = RECIPE_CHUNK_BYTES_AVERAGE_MIN
    assert unpack_recipe(recipe_of([(D, least)] * 2).pack(), 2 * least).size == 2 * least
    with pytest.raises(RecipeFault):
        unpack_recipe(recipe_of([(D, least)] * 3).pack(), 3 * least)


def test_an_empty_recipe_has_no_bytes() -> None:
    """No chunks, no size."""
    assert unpack_recipe(b"", 0) == Recipe(())
    assert Recipe(()).size == 0
