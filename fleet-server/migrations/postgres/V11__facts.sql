-- What boxes are, fact by fact. See the SQLite file of the same name.

-- What a gateway told last: its newest full report, and what changed since.
CREATE TABLE fact_states (
  gateway TEXT PRIMARY KEY,
  epoch TEXT NOT NULL,                            -- of the outbox that it came from
  base BYTEA NOT NULL,                            -- CBOR: the newest full report
  newest BYTEA,                                   -- CBOR: the newest report of changes; NULL when that is the full one
  number BIGINT NOT NULL,                         -- the newest report's
  mark TEXT NOT NULL,                             -- of the whole state, hex
  inventory TEXT,                                 -- the list of software that the facts name, hex
  taken_at BIGINT NOT NULL,                       -- by the gateway's clock
  received_at BIGINT NOT NULL                     -- by the server's clock
);
CREATE INDEX fact_states_by_inventory ON fact_states (inventory);

-- The facts as they stand, for questions to the whole fleet. Written when one changes, and only that one.
CREATE TABLE facts (
  gateway TEXT NOT NULL,
  fact TEXT NOT NULL,                             -- its id: name[subject]
  name TEXT NOT NULL,                             -- without its subject
  value TEXT NOT NULL,                            -- in words
  since BIGINT NOT NULL,                          -- by the gateway's clock where that is trusted
  PRIMARY KEY (gateway, fact)
);
CREATE INDEX facts_by_name ON facts (name);                       -- values may be longer than an index takes

-- What changed, and when.
CREATE TABLE fact_changes (
  gateway TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  fact TEXT NOT NULL,
  at BIGINT NOT NULL,                             -- by the gateway's clock where that is trusted
  was TEXT,                                       -- in words; NULL when there was none
  now TEXT,                                       -- in words; NULL when it is gone
  PRIMARY KEY (gateway, received_at, fact)
);
CREATE INDEX fact_changes_by_age ON fact_changes (received_at);

-- Lists of software. Boxes with the same software share one.
CREATE TABLE inventories (
  name TEXT PRIMARY KEY,                          -- hash of the bytes, hex
  list BYTEA NOT NULL,                            -- CBOR
  kept_at BIGINT NOT NULL
);

-- What stands in them.
CREATE TABLE packages (
  inventory TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  arch TEXT NOT NULL,
  source TEXT,
  source_version TEXT,
  PRIMARY KEY (inventory, kind, name, version, arch)
);
CREATE INDEX packages_by_name ON packages (name);
CREATE INDEX packages_by_source ON packages (source);

-- Pieces of lists of which not all have come.
CREATE TABLE inventory_pieces (
  gateway TEXT NOT NULL,
  inventory TEXT NOT NULL,
  part BIGINT NOT NULL,
  parts BIGINT NOT NULL,
  body BYTEA NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (gateway, inventory, part)
);
