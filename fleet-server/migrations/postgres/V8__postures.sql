-- What gateways were while nobody could ask them. See the SQLite file of the same name.

-- The newest link of each gateway's chain of postures, and what its evidence says of the end.
CREATE TABLE chain_ends (
  gateway TEXT PRIMARY KEY,
  newest BYTEA,                                   -- CBOR; NULL before the first link
  promised BIGINT,                                -- the end that its evidence named, while links up to there are missing
  promised_at BIGINT,
  breaks BIGINT NOT NULL DEFAULT 0                -- since its newest evidence
);

-- Stretches of time: proved by links beside each other, or not, and why.
CREATE TABLE stretches (
  gateway TEXT NOT NULL,
  first_seq BIGINT NOT NULL,                      -- of the links at both ends
  last_seq BIGINT NOT NULL,
  from_at BIGINT NOT NULL,                        -- by the gateway's clock
  until_at BIGINT NOT NULL,
  unproven TEXT,                                  -- why; NULL when it is proved
  noted_at BIGINT NOT NULL,                       -- by the server's clock
  PRIMARY KEY (gateway, last_seq, noted_at)
);
CREATE INDEX stretches_by_age ON stretches (noted_at);
