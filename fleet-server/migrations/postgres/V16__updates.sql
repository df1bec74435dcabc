-- Updates: what the director said each gateway shall have, and what gateways say of their software. The PostgreSQL file of
-- the same name is the same text.

-- The newest word for each gateway. Numbers rise over the whole fleet, and none is given twice.
CREATE TABLE assignments (
  gateway TEXT PRIMARY KEY REFERENCES gateways (id),
  counter BIGINT NOT NULL UNIQUE,
  path TEXT NOT NULL,                             -- of the target in the repository
  version TEXT NOT NULL,
  not_before BIGINT NOT NULL,
  deadline BIGINT NOT NULL,
  assigned_at BIGINT NOT NULL,
  assigned_by TEXT NOT NULL,
  word BYTEA NOT NULL                             -- as the director signed it
);

CREATE TABLE update_states (
  gateway TEXT PRIMARY KEY,
  epoch TEXT NOT NULL,                            -- of the outbox that it came from
  taken_at BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  state BYTEA NOT NULL
);
