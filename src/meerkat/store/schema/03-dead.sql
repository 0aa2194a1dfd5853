-- Tombstones, to be walked when some may be forgotten.
CREATE INDEX entry_dead ON entry (path) WHERE kind = 4;
