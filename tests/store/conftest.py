"""An index for one test."""

from pathlib import Path

import pytest
from small_index import HERE

from meerkat.store.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index.open(tmp_path / "index.db", durable=False)
    with made.write() as tx:
        tx.renew_author(HERE)
    return made
