-- Policies: what was signed, who shall have it, and what gateways say of it. The PostgreSQL file of the same name is the
-- same text.

-- Who may sign, as a root signed it. The newest one counts.
CREATE TABLE policy_keyrings (
  version BIGINT PRIMARY KEY,
  signed BYTEA NOT NULL,
  expires_at BIGINT NOT NULL,
  loaded_at BIGINT NOT NULL,
  loaded_by TEXT NOT NULL
);

CREATE TABLE policies (
  version BIGINT PRIMARY KEY,
  digest BYTEA NOT NULL,                          -- SHA-256 over the signed bytes
  signed BYTEA NOT NULL,                          -- as its author signed it
  review BYTEA,                                   -- as its reviewer signed it
  author TEXT NOT NULL,
  reviewer TEXT,
  loaded_at BIGINT NOT NULL,
  loaded_by TEXT NOT NULL,
  withdrawn_at BIGINT,
  withdrawn_by TEXT,
  withdrawn_why TEXT
);

-- Who shall have which. The highest number that fits a gateway counts.
CREATE TABLE policy_targets (
  kind TEXT NOT NULL,                             -- all | group | gateway
  name TEXT NOT NULL,                             -- '' for all
  version BIGINT NOT NULL REFERENCES policies (version),
  assigned_at BIGINT NOT NULL,
  assigned_by TEXT NOT NULL,
  PRIMARY KEY (kind, name, version)
);

CREATE TABLE group_members (
  group_id TEXT NOT NULL,
  gateway TEXT NOT NULL REFERENCES gateways (id),
  added_at BIGINT NOT NULL,
  added_by TEXT NOT NULL,
  PRIMARY KEY (group_id, gateway)
);
CREATE INDEX group_members_by_gateway ON group_members (gateway);

-- The newest order that shut a gateway off, or opened it again.
CREATE TABLE isolations (
  gateway TEXT PRIMARY KEY REFERENCES gateways (id),
  number BIGINT NOT NULL,
  ordered TEXT NOT NULL,                          -- isolate | lift
  reason TEXT NOT NULL,
  ordered_at BIGINT NOT NULL,
  ordered_by TEXT NOT NULL
);

-- What a gateway says of its policy.
CREATE TABLE policy_states (
  gateway TEXT PRIMARY KEY,
  epoch TEXT NOT NULL,                            -- of the outbox that it came from
  taken_at BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  returned_heard BIGINT,                          -- when the server first heard of the return that it names
  state BYTEA NOT NULL                            -- CBOR as the protocol has it, without its points
);

CREATE TABLE policy_points (
  gateway TEXT NOT NULL,
  point TEXT NOT NULL,
  hazard TEXT NOT NULL,
  wanted TEXT NOT NULL,
  applied TEXT,
  observed TEXT,
  standing TEXT NOT NULL,                         -- holds | drifted | not-enforceable-here | failed
  why TEXT,
  since BIGINT NOT NULL,                          -- as the gateway said it; the server's clock when that one was not trusted
  PRIMARY KEY (gateway, point)
);
CREATE INDEX policy_points_by_standing ON policy_points (standing, point);

-- Each time that a point did not hold; it goes on as long as ended_at is missing.
CREATE TABLE drifts (
  gateway TEXT NOT NULL,
  point TEXT NOT NULL,
  standing TEXT NOT NULL,                         -- drifted | failed
  wanted TEXT NOT NULL,
  observed TEXT,
  why TEXT,
  since BIGINT NOT NULL,
  noted_at BIGINT NOT NULL,                       -- server's clock
  ended_at BIGINT,
  PRIMARY KEY (gateway, point, noted_at)
);
CREATE INDEX drifts_by_age ON drifts (noted_at);
CREATE INDEX drifts_by_gateway ON drifts (gateway, noted_at);

-- Flows that gateways stopped, each with how often it was told: once an hour at most.
CREATE TABLE stopped_flows (
  gateway TEXT NOT NULL,
  point TEXT NOT NULL,
  who TEXT NOT NULL,
  peer TEXT NOT NULL,
  protocol TEXT NOT NULL,                         -- '' for others than TCP and UDP
  port BIGINT NOT NULL,
  first_at BIGINT NOT NULL,                       -- server's clock
  last_at BIGINT NOT NULL,
  told BIGINT NOT NULL,
  PRIMARY KEY (gateway, point, who, peer, protocol, port)
);
CREATE INDEX stopped_flows_by_age ON stopped_flows (last_at);

CREATE TABLE stopped_totals (
  gateway TEXT PRIMARY KEY,
  listed BIGINT NOT NULL,                         -- flows that it told
  more BIGINT NOT NULL,                           -- flows that it only counted
  last_at BIGINT NOT NULL
);

-- Rises with each change of who shall have what, so that nobody reads it all to see that nothing changed.
CREATE TABLE policy_mark (id BIGINT PRIMARY KEY, changes BIGINT NOT NULL);
INSERT INTO policy_mark (id, changes) VALUES (1, 0);
