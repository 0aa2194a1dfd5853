"""Hypothesis strategies for the nouns of the house. `from strategies import paths` works in every test."""

from hypothesis import strategies as st

from meerkat.model.dot import Author, Dot, joined
from meerkat.model.ids import DIGEST_BYTES, ID_CHARS, NO_DIGEST, Digest, NodeId
from meerkat.model.limits import (
    CHUNK_BYTES_MAX,
    FILE_BYTES_MAX,
    HIST_MARKS_MAX,
    NAME_BYTES_MAX,
    RECIPE_CHUNK_BYTES_AVERAGE_MIN,
    SINGLE_CHUNK_BYTES_MAX,
)
from meerkat.model.path import PathFault, RelPath, check_name, parse_path
from meerkat.model.recipe import Chunk, Recipe
from meerkat.model.version import MARK_BYTES, MODE_MASK, Entry, Kind, Version


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except PathFault:
        return False
    return True


names = (
    st.one_of(
        st.sampled_from(
            ["a", "b", "A", "é", "e\u0301", "a.txt", ".hidden", "x conflict", "-", "*", "\\", "\n", "ab" * 100]
        ),
        st.text(min_size=1, max_size=12),
    )
    .filter(lambda name: len(name.encode("utf-8", "surrogatepass")) <= NAME_BYTES_MAX)
    .filter(_is_name)
)
"""One component of a path."""

paths = st.lists(names, min_size=1, max_size=5).map(lambda parts: parse_path("/".join(parts)))
"""Valid paths, with the clashes that people's folders hold (prefixes of each other, one name in two spellings)."""

few_paths = st.sampled_from([RelPath(text) for text in ("a", "b", "a/a", "a/b", "a/b/c", "ab", "a b/c", "é", "b/a")])
"""Few paths that often meet."""

node_ids = st.sampled_from([NodeId(letter * ID_CHARS) for letter in "abcdef"])
authors = st.builds(Author, node_ids, st.integers(0, 3) | st.integers(0, 2**63 - 1))
dots = st.builds(Dot, authors, st.integers(1, 6) | st.integers(1, 2**40))
vectors = st.dictionaries(authors, st.integers(1, 6) | st.integers(1, 2**40), max_size=6)

bounds = st.tuples(vectors, vectors).map(lambda pair: (joined(*pair), pair[1]))
"""A context and a floor below it."""

digests = st.one_of(
    st.sampled_from([Digest(bytes([number]) * DIGEST_BYTES) for number in range(1, 6)]),
    st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES).map(Digest),
)

_times = st.integers(-(2**61), 2**61)
_modes = st.integers(0, MODE_MASK)
_heights = st.integers(1, 5) | st.integers(1, 2**61)
_hists = st.lists(st.binary(min_size=MARK_BYTES, max_size=MARK_BYTES), max_size=min(4, HIST_MARKS_MAX)).map(tuple)
_targets = st.text(min_size=1, max_size=20).filter(
    lambda text: "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
)

_files = st.builds(
    lambda size, mtime_ns, mode, digest, recipe, height, weak, hist: Version(
        Kind.FILE,
        size=size,
        mtime_ns=mtime_ns,
        mode=mode,
        digest=digest,
        recipe=recipe if size > SINGLE_CHUNK_BYTES_MAX else NO_DIGEST,
        height=height,
        weak=weak,
        hist=hist,
    ),
    st.integers(0, 2 * SINGLE_CHUNK_BYTES_MAX) | st.integers(0, FILE_BYTES_MAX),
    _times,
    _modes,
    digests,
    digests,
    _heights,
    st.booleans(),
    _hists,
)
_folders = st.builds(
    Version, st.just(Kind.FOLDER), mtime_ns=_times, mode=_modes, height=_heights, weak=st.booleans(), hist=_hists
)
_links = st.builds(
    Version, st.just(Kind.SYMLINK), mtime_ns=_times, target=_targets, height=_heights, weak=st.booleans(), hist=_hists
)
_tombstones = st.builds(Version, st.just(Kind.TOMBSTONE), mtime_ns=_times, height=_heights, hist=_hists)

versions = st.one_of(_files, _folders, _links, _tombstones)
"""Valid versions of every kind."""

siblings = st.dictionaries(dots, versions, min_size=1, max_size=4)
entries = st.builds(Entry, paths, siblings)


def recipe_of(parts: list[tuple[Digest, int]]) -> Recipe:
    """The recipe whose chunks have these digests and lengths, in order."""
    chunks = []
    offset = 0
    for digest, length in parts:
        chunks.append(Chunk(digest, offset, length))
        offset += length
    return Recipe(tuple(chunks))


recipes = st.lists(st.tuples(digests, st.integers(RECIPE_CHUNK_BYTES_AVERAGE_MIN, CHUNK_BYTES_MAX)), max_size=8).map(
    recipe_of
)
