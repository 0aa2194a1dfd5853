"""The index's shape: numbered scripts, each applied once, in order, each in one transaction with its number.

`PRAGMA user_version` holds the number of the last script applied, so a crash between two scripts leaves a file that the
next start carries on with. A script that was shipped is never edited; a new shape is a new script.
"""

import re
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from meerkat.store.connection import Connection
from meerkat.store.errors import IndexTooNew

_NAME = re.compile(r"(\d\d)-[a-z-]+\.sql")


class Migration(NamedTuple):
    """One script. `number` counts from 1 without gaps; `sql` holds statements, no BEGIN or COMMIT."""

    number: int
    sql: str


def shipped_migrations() -> tuple[Migration, ...]:
    """The scripts of this release, in order."""
    found = {}
    for file in (resources.files("meerkat.store") / "schema").iterdir():
        if match := _NAME.fullmatch(file.name):
            found[int(match[1])] = file.read_text(encoding="utf-8")
    assert sorted(found) == list(range(1, len(found) + 1)), "migrations are numbered without gaps"
    return tuple(Migration(number, found[number]) for number in sorted(found))


def version_of(connection: Connection) -> int:
    """The number of the last migration that the file has seen; 0 for a new one."""
    (version,) = connection.rows("PRAGMA user_version")[0]
    return int(version)


def migrate(connection: Connection, migrations: Sequence[Migration]) -> None:
    """Bring the file to the newest of `migrations`.

    Raises:
        IndexTooNew: the file has seen a migration that is not among them.
    """
    version = version_of(connection)
    if version > len(migrations):
        raise IndexTooNew(f"the index has version {version}, this Meerkat knows up to {len(migrations)}")
    for number, sql in migrations[version:]:
        try:
            connection.script(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")
        except BaseException:
            connection.roll_back()
            raise
