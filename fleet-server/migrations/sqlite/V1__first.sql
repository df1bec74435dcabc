-- The first schema. The PostgreSQL file of the same name is the same text but for the one self-numbering column;
-- a test compares them.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
-- Rows whose lock keeps the numbers of a table in order when several processes write.
INSERT INTO meta (key, value) VALUES ('audit', 'homeward-audit-v1'), ('signals', '1');

-- Who there is -------------------------------------------------------------------------------------------------

CREATE TABLE teams (id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at BIGINT NOT NULL);

CREATE TABLE placements (
  id TEXT PRIMARY KEY,
  team TEXT NOT NULL REFERENCES teams (id),
  dependency TEXT NOT NULL,                       -- low | medium | high
  created_at BIGINT NOT NULL
);

CREATE TABLE gateways (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,                            -- expected | waiting | enrolled | revoked
  placement TEXT REFERENCES placements (id),
  created_at BIGINT NOT NULL,
  enrolled_at BIGINT,
  revoked_at BIGINT,
  revoked_why TEXT,
  connected_at BIGINT,                            -- NULL while not connected
  address TEXT,
  last_heard BIGINT                               -- server's clock, of the last thing stored from it
);
CREATE INDEX gateways_by_state ON gateways (state, id);
CREATE INDEX gateways_by_placement ON gateways (placement);

CREATE TABLE claims (
  gateway TEXT PRIMARY KEY REFERENCES gateways (id),
  code_hash BYTEA NOT NULL,                       -- SHA-256 of the plain code
  approval TEXT NOT NULL,                         -- automatic | operator
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  failed_tries BIGINT NOT NULL DEFAULT 0,
  spki BYTEA,                                     -- bound at first use
  used_at BIGINT,
  approved_at BIGINT,
  approved_by TEXT
);

CREATE TABLE certificates (
  serial TEXT PRIMARY KEY,                        -- lower case hex
  gateway TEXT NOT NULL REFERENCES gateways (id),
  point BYTEA NOT NULL,                           -- P-256 public key, uncompressed point, 65 bytes
  not_before BIGINT NOT NULL,
  not_after BIGINT NOT NULL,
  issued_at BIGINT NOT NULL,
  late BIGINT NOT NULL DEFAULT 0,                 -- 1 when renewed after it had expired
  der BYTEA NOT NULL,
  revoked_at BIGINT
);
CREATE INDEX certificates_by_gateway ON certificates (gateway, issued_at);

-- What came in -------------------------------------------------------------------------------------------------

CREATE TABLE streams (
  gateway TEXT NOT NULL,
  epoch TEXT NOT NULL,                            -- 16 hex digits
  lane TEXT NOT NULL,
  up_to BIGINT NOT NULL,
  head BYTEA NOT NULL,
  closed BIGINT NOT NULL DEFAULT 0,               -- 1 when it forked: its gateway takes a new epoch
  started_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (gateway, epoch, lane)
);

CREATE TABLE envelopes (
  gateway TEXT NOT NULL,
  epoch TEXT NOT NULL,
  lane TEXT NOT NULL,
  first_seq BIGINT NOT NULL,
  last_seq BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  signed BYTEA NOT NULL,                          -- as it came
  PRIMARY KEY (gateway, epoch, lane, last_seq)
);
CREATE INDEX envelopes_by_age ON envelopes (received_at);

CREATE TABLE readings (
  gateway TEXT NOT NULL,
  epoch TEXT NOT NULL,
  seq BIGINT NOT NULL,
  sensor TEXT NOT NULL,
  kind TEXT NOT NULL,
  mantissa BIGINT,                                -- NULL with no number
  exponent BIGINT,
  state TEXT,                                     -- NULL with no named state
  quality TEXT NOT NULL,
  grade TEXT NOT NULL,
  taken_at BIGINT NOT NULL,
  clock TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (gateway, epoch, seq)
);
CREATE INDEX readings_by_sensor ON readings (gateway, sensor, kind, taken_at);
CREATE INDEX readings_by_age ON readings (received_at);

CREATE TABLE latest (
  gateway TEXT NOT NULL,
  sensor TEXT NOT NULL,
  kind TEXT NOT NULL,
  epoch TEXT NOT NULL DEFAULT '',                 -- of the outbox it came from: within one, later is newer
  mantissa BIGINT,
  exponent BIGINT,
  state TEXT,
  quality TEXT NOT NULL,
  grade TEXT NOT NULL,
  taken_at BIGINT NOT NULL,
  clock TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (gateway, sensor, kind)
);

CREATE TABLE postures (
  gateway TEXT PRIMARY KEY,
  taken_at BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  epoch TEXT NOT NULL DEFAULT '',
  report BYTEA NOT NULL                           -- the CBOR of the newest PostureReport
);

CREATE TABLE sensors (
  gateway TEXT NOT NULL,
  sensor TEXT NOT NULL,
  profile TEXT NOT NULL,
  interval_s BIGINT NOT NULL,
  failures BIGINT NOT NULL,
  last_error TEXT,
  last_heard BIGINT,                              -- as the gateway said it
  last_stored BIGINT,                             -- server's clock, of the last reading stored
  listed_at BIGINT NOT NULL,
  PRIMARY KEY (gateway, sensor)
);

CREATE TABLE alarms (
  gateway TEXT NOT NULL,
  epoch TEXT NOT NULL,
  seq BIGINT NOT NULL,
  sensor TEXT,
  condition TEXT NOT NULL,
  active BIGINT NOT NULL,
  at BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (gateway, epoch, seq)
);
CREATE INDEX alarms_by_gateway ON alarms (gateway, at);

CREATE TABLE outages (
  gateway TEXT NOT NULL,
  epoch TEXT NOT NULL,
  seq BIGINT NOT NULL,
  from_at BIGINT NOT NULL,
  until_at BIGINT NOT NULL,
  cause TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (gateway, epoch, seq)
);

CREATE TABLE gaps (
  gateway TEXT NOT NULL,
  epoch TEXT NOT NULL,
  lane TEXT NOT NULL,
  from_seq BIGINT NOT NULL,
  to_seq BIGINT NOT NULL,
  missing BIGINT NOT NULL,                        -- records that are not here; 0 for a broken chain or a fork
  cause TEXT NOT NULL,                            -- quota | disk-refused | damaged | not-held | chain-broken | fork
  noted_at BIGINT NOT NULL,
  PRIMARY KEY (gateway, epoch, lane, from_seq, cause)
);

CREATE TABLE quarantine (
  gateway TEXT NOT NULL,
  digest TEXT NOT NULL,                           -- SHA-256 of the bytes, hex
  received_at BIGINT NOT NULL,
  why TEXT NOT NULL,
  bytes BYTEA NOT NULL,
  PRIMARY KEY (gateway, digest)
);

-- What came from a gateway and could not be read; `quarantine` keeps the newest of it.
CREATE TABLE rejects (
  gateway TEXT PRIMARY KEY,
  total BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  last_why TEXT NOT NULL
);

CREATE TABLE connections (
  gateway TEXT NOT NULL,
  connected_at BIGINT NOT NULL,
  address TEXT NOT NULL,
  ended_at BIGINT,
  ended_why TEXT,
  PRIMARY KEY (gateway, connected_at)
);
CREATE INDEX connections_by_age ON connections (connected_at);

-- Who may do what, and who did ---------------------------------------------------------------------------------

CREATE TABLE users (
  name TEXT PRIMARY KEY,
  role TEXT NOT NULL,                             -- operator | nurse
  team TEXT REFERENCES teams (id),                -- a nurse's care team
  password TEXT NOT NULL,                         -- argon2id, PHC string
  created_at BIGINT NOT NULL,
  disabled_at BIGINT,
  failed_tries BIGINT NOT NULL DEFAULT 0,
  locked_until BIGINT
);

CREATE TABLE setup_codes (code_hash BYTEA PRIMARY KEY, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL);

CREATE TABLE sessions (
  token_hash BYTEA PRIMARY KEY,
  user_name TEXT NOT NULL REFERENCES users (name),
  csrf TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);

CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  token_hash BYTEA NOT NULL UNIQUE,
  scopes TEXT NOT NULL,                           -- space separated
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  last_used BIGINT,
  revoked_at BIGINT
);

CREATE TABLE incidents (
  id TEXT PRIMARY KEY,
  gateway TEXT,
  kind TEXT NOT NULL,
  said TEXT NOT NULL,
  at BIGINT NOT NULL,
  closed_at BIGINT,
  closed_by TEXT
);
CREATE INDEX incidents_open ON incidents (closed_at, at);

CREATE TABLE audit (
  id BIGINT PRIMARY KEY,                          -- 1, 2, 3 … without holes
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  hash BYTEA NOT NULL                             -- over the row and the hash before it
);

CREATE TABLE signals (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  at BIGINT NOT NULL
);
