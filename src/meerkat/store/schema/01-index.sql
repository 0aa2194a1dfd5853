-- The index: the merged entries of the pool, stored once, plus what this node has on its own disk.
-- Paths are stored as tree keys (components joined by NUL): byte order is tree order, and all that lies below a
-- folder p is the range p||x'00' .. p||x'01'.

PRAGMA application_id = 0x4d6b6174; -- "Mkat"

-- Every author ever heard of, and the pool's two vectors.
CREATE TABLE author (
    id INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    context INTEGER NOT NULL DEFAULT 0,
    floor INTEGER NOT NULL DEFAULT 0,
    UNIQUE (node, epoch)
) STRICT;

-- One row per sibling.
CREATE TABLE entry (
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
    origin TEXT NOT NULL,
    PRIMARY KEY (path, author, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_dot ON entry (author, seq);
CREATE INDEX entry_living ON entry (path) WHERE kind <> 4;
-- Only files of several chunks have chunk rows and recipes, so only they are looked up when those are pruned.
CREATE INDEX entry_recipe ON entry (recipe) WHERE recipe <> x'';
CREATE INDEX entry_chunked ON entry (digest) WHERE recipe <> x'';

-- What this node last put or saw on its disk. ANY: a 64-bit inode or a far time may exceed SQLite's integers.
CREATE TABLE base (
    path BLOB NOT NULL PRIMARY KEY,
    kind INTEGER NOT NULL,
    ident BLOB NOT NULL,
    recipe BLOB NOT NULL,
    stat_kind INTEGER NOT NULL,
    size ANY NOT NULL,
    mtime_ns ANY NOT NULL,
    ctime_ns ANY NOT NULL,
    inode ANY NOT NULL,
    mode INTEGER NOT NULL,
    racy INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX base_content ON base (kind, ident);
CREATE INDEX base_recipe ON base (recipe) WHERE recipe <> x'';

-- Paths whose view may differ from their base. bytes: what of them is not here; bare: they have no siblings (left).
CREATE TABLE pending (
    path BLOB NOT NULL PRIMARY KEY,
    bytes INTEGER NOT NULL,
    bare INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Paths with more than one distinct living content.
CREATE TABLE conflicted (
    path BLOB NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Living paths that are named like conflict copies (few, and asked for often).
CREATE TABLE copy (
    path BLOB NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Commits under way (R8, R9). target_kind NULL: a removal. old_kind NULL: nothing was there.
CREATE TABLE intent (
    path BLOB NOT NULL PRIMARY KEY,
    stage TEXT NOT NULL,
    inode ANY NOT NULL,
    target_kind INTEGER,
    target_size INTEGER,
    target_mtime_ns INTEGER,
    target_mode INTEGER,
    target_digest BLOB,
    target_recipe BLOB,
    target_target BLOB,
    target_height INTEGER,
    target_weak INTEGER,
    target_hist BLOB,
    target_origin TEXT,
    old_kind INTEGER,
    old_ident BLOB,
    old_recipe BLOB,
    old_stat_kind INTEGER,
    old_size ANY,
    old_mtime_ns ANY,
    old_ctime_ns ANY,
    old_inode ANY,
    old_mode INTEGER,
    old_racy INTEGER
) STRICT, WITHOUT ROWID;

-- Packed recipes by their digest. With rowid: a recipe may be large.
CREATE TABLE recipe (
    digest BLOB NOT NULL PRIMARY KEY,
    packed BLOB NOT NULL
) STRICT;

-- Contents of several chunks, and where each of their chunks lies in them.
CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE
) STRICT;
CREATE TABLE chunk (
    digest BLOB NOT NULL,
    content INTEGER NOT NULL,
    start INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (digest, content, start)
) STRICT, WITHOUT ROWID;
CREATE INDEX chunk_content ON chunk (content);

-- Parts of long pulls, read by nobody until the pull is whole (R10). number: the entry's place within its pull.
CREATE TABLE aside (
    pull INTEGER NOT NULL,
    number INTEGER NOT NULL,
    author INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    path BLOB NOT NULL,
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
    origin TEXT NOT NULL,
    PRIMARY KEY (pull, number, author, seq)
) STRICT, WITHOUT ROWID;

-- The engine's own small values.
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The store's state, one row: who writes here now, whether the last run closed the file, and the sums that are
-- kept up to date by every write so that nobody has to count.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    clean INTEGER NOT NULL,
    author INTEGER,
    files INTEGER NOT NULL,
    folders INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    pending_bytes INTEGER NOT NULL,
    bare INTEGER NOT NULL,
    fingerprint BLOB NOT NULL
) STRICT;
INSERT INTO state VALUES (0, 1, NULL, 0, 0, 0, 0, 0, 0, zeroblob(16));

-- What was complete when a pending path last lost all its siblings.
CREATE TABLE complete (
    author INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;
