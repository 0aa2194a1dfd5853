-- What was written where and by whom, as this node came to know of it: for people, nothing is decided by it.
-- at: wall clock in milliseconds since 1970. Bounded: the oldest rows go.
CREATE TABLE change (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    path BLOB NOT NULL,
    author INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    digest BLOB NOT NULL,
    recipe BLOB NOT NULL,
    target BLOB NOT NULL,
    height INTEGER NOT NULL,
    weak INTEGER NOT NULL,
    hist BLOB NOT NULL,
    origin TEXT NOT NULL
) STRICT;
CREATE INDEX change_path ON change (path, number);
CREATE INDEX change_recipe ON change (recipe) WHERE recipe <> x'';

-- Paths that are gone from this disk and whose going is held back until a person agrees.
CREATE TABLE held (
    path BLOB NOT NULL PRIMARY KEY,
    hold INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE hold (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    files INTEGER NOT NULL,
    total INTEGER NOT NULL
) STRICT;
