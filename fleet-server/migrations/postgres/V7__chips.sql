-- TPMs of gateways. The PostgreSQL file of the same name is the same text.

CREATE TABLE chips (
  point BYTEA PRIMARY KEY,                        -- the P-256 key that was proved to be in the chip
  gateway TEXT NOT NULL,
  chip BYTEA NOT NULL,                            -- keyed hash of its endorsement key
  attestation BYTEA NOT NULL,                     -- public area of the key that vouches
  vouched BIGINT NOT NULL,                        -- 1 when a known maker vouches for the chip
  proved_at BIGINT NOT NULL
);
CREATE INDEX chips_by_gateway ON chips (gateway);
CREATE INDEX chips_by_chip ON chips (chip);

-- Chips that come in without a code.
CREATE TABLE expected_chips (
  chip BYTEA PRIMARY KEY,                         -- keyed hash of its endorsement key
  gateway TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX expected_chips_by_gateway ON expected_chips (gateway);
