-- Where reference values came from, and what is believed of the repository of releases. The PostgreSQL file of the same
-- name is the same text.

ALTER TABLE reference_values ADD COLUMN targets BIGINT;     -- the version of the release's targets that names them; none when loaded by hand

-- The newest metadata of the repository that was verified: nothing older is taken any more.
CREATE TABLE release_metadata (
  name TEXT PRIMARY KEY,
  bytes BYTEA NOT NULL
);
