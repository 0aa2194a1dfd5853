"""What is read page by page in threads can be given up at any moment."""

import threading
from collections.abc import Generator

from meerkat.node.pages import Pages


def test_pages_come_one_after_the_other() -> None:
    """And then none."""
    pages = Pages(number for number in (1, 2))
    assert [pages.next() for _ in range(4)] == [1, 2, None, None]


def test_given_up_in_the_middle_of_a_page() -> None:
    """Closing waits for the page that is being made; what the generator holds is given back."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def made() -> Generator[int, None, None]:
        try:
            begun.set()
            go_on.wait()
            yield 1
        finally:
            ended.set()

    pages = Pages(made())
    taking = threading.Thread(target=pages.next)
    taking.start()
    begun.wait()
    closing = threading.Thread(target=pages.close)
    closing.start()
    go_on.set()
    for each in (taking, closing):
        each.join()
    assert ended.is_set()
    assert pages.next() is None
