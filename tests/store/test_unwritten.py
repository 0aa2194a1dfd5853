"""Rows that wait for SQLite: the last word counts, and what is handed over is handed over once."""

from collections.abc import Iterable, Sequence

from meerkat.store.unwritten import Unwritten


class Handed(list[tuple[str, list[Sequence[object]]]]):
    """What a connection was given."""

    def many(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        self.append((" ".join(sql.split()[:4]), [tuple(each) for each in values]))


def test_the_last_word_for_a_row_is_what_is_written() -> None:
    """A row that was put and dropped again is dropped, one that was dropped and put again is put."""
    unwritten, handed = Unwritten(), Handed()
    unwritten.put_entry(b"a", 1, 7, ("first",))
    unwritten.drop_entry(b"a", 1, 7)
    unwritten.drop_entry(b"b", 1, 8)
    unwritten.put_entry(b"b", 1, 8, ("second",))
    unwritten.write(handed.many)
    assert handed == [
        ("DELETE FROM entry WHERE", [(b"a", 1, 7)]),
        ("INSERT OR REPLACE INTO", [(b"b", 1, 8, "second")]),
    ]


def test_nothing_is_handed_over_twice() -> None:
    """After writing nothing waits: not a row, and no folder is doubtful any more."""
    unwritten, handed = Unwritten(), Handed()
    unwritten.put_base(b"a", ("base",))
    unwritten.put_pending(b"a", (0, 0))
    unwritten.put_intent(b"a", None)
    unwritten.put_change((1, b"a"))
    unwritten.above.add(b"d")
    assert unwritten.count == 4
    unwritten.write(handed.many)
    assert len(handed) == 4
    assert not unwritten.above
    unwritten.write(handed.many)
    assert len(handed) == 4
    assert unwritten.count == 0
