-- Whether gateways can be believed: challenges, evidence, judgements, and what they are held against. See the
-- SQLite file of the same name.

-- One row a gateway: where its judgement stands. How it stands at a moment is computed from this and the time.
CREATE TABLE attestation (
  gateway TEXT PRIMARY KEY,
  tier TEXT,                                      -- the highest that was proved, or that a person set
  key BYTEA,                                      -- thumbprint of the key that it last proved itself with
  box BYTEA,                                      -- its random name since the enrolment
  boots TEXT NOT NULL DEFAULT '',                 -- the newest ones, COUNT:SEED
  status TEXT,                                    -- none | affirming | warning | contraindicated; NULL before the first
  issued_at BIGINT,
  expires_at BIGINT,
  last_good BIGINT,
  failures BIGINT NOT NULL DEFAULT 0,             -- contraindicated, in a row
  quarantined_at BIGINT,
  quarantined_why TEXT,
  first_asked BIGINT,
  asked_at BIGINT,
  unanswered BIGINT NOT NULL DEFAULT 0,           -- challenges since the last answer
  answered_at BIGINT,
  next_at BIGINT,
  wished_at BIGINT,                               -- a person asked, and nothing was sent since
  held BYTEA,                                     -- what is held of its logs: CBOR as the protocol has it
  registers BYTEA                                 -- the newest quoted registers, CBOR
);
CREATE INDEX attestation_by_issue ON attestation (issued_at);
CREATE INDEX attestation_by_status ON attestation (status, expires_at);

CREATE TABLE challenges (
  nonce_hash BYTEA PRIMARY KEY,                   -- SHA-256; the number itself is kept nowhere
  gateway TEXT NOT NULL,
  occasion TEXT NOT NULL,
  made_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at BIGINT,
  answer BYTEA                                    -- SHA-256 of what answered it
);
CREATE INDEX challenges_by_age ON challenges (made_at);

CREATE TABLE evidence (
  hash BYTEA NOT NULL,                            -- SHA-256 of the bytes
  gateway TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  bytes BYTEA NOT NULL,                           -- as it came
  PRIMARY KEY (gateway, received_at, hash)
);
CREATE INDEX evidence_by_age ON evidence (received_at);

CREATE TABLE results (
  gateway TEXT NOT NULL,
  issued_at BIGINT NOT NULL,
  evidence BYTEA NOT NULL,                        -- the hash
  expires_at BIGINT NOT NULL,
  status TEXT NOT NULL,
  tier TEXT NOT NULL,
  vector TEXT NOT NULL,                           -- eight numbers
  said TEXT NOT NULL,                             -- reasons in plain words, one a line
  state TEXT NOT NULL,                            -- as it stood right after: trusted | warning | failed | unknown
  PRIMARY KEY (gateway, issued_at, evidence)
);
CREATE INDEX results_by_age ON results (issued_at);

-- Registers of each gateway's firmware: as accepted, and as last seen where that differs.
CREATE TABLE baselines (
  gateway TEXT NOT NULL,
  register BIGINT NOT NULL,
  accepted BYTEA,
  accepted_at BIGINT,
  accepted_by TEXT,
  seen BYTEA,
  seen_at BIGINT,
  PRIMARY KEY (gateway, register)
);

-- Releases that evidence is held against, as their makers signed them.
CREATE TABLE reference_values (
  name TEXT PRIMARY KEY,
  signed BYTEA NOT NULL,
  signer BYTEA NOT NULL,                          -- the key that was given when it was loaded
  loaded_at BIGINT NOT NULL,
  loaded_by TEXT NOT NULL
);
