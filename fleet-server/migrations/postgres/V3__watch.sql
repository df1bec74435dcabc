-- What gateways notice about their sensors; see the SQLite file of the same name.

CREATE TABLE watches (
  gateway TEXT PRIMARY KEY,
  epoch TEXT NOT NULL,                            -- of the outbox the newest report came from
  taken_at BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  more BIGINT NOT NULL                            -- findings that stand and are not listed
);

-- Each time that a suspicion was raised; it stands as long as cleared_at is missing.
CREATE TABLE findings (
  gateway TEXT NOT NULL,
  suspicion TEXT NOT NULL,
  sensor TEXT NOT NULL,                           -- '' when it is about no sensor
  address TEXT NOT NULL,                          -- '' when it is about no other device
  since BIGINT NOT NULL,                          -- as the gateway said it; the server's clock when that one was not trusted
  said TEXT NOT NULL,
  raised_at BIGINT NOT NULL,                      -- server's clock
  cleared_at BIGINT,
  PRIMARY KEY (gateway, suspicion, sensor, address, raised_at)
);
CREATE INDEX findings_by_address ON findings (address);
CREATE INDEX findings_by_age ON findings (raised_at);

-- The Bluetooth devices that a gateway takes for its own.
CREATE TABLE bonds (
  gateway TEXT NOT NULL,
  sensor TEXT NOT NULL,
  address TEXT NOT NULL,
  class TEXT,                                     -- of the bond's key; NULL without a bond
  key_size BIGINT,
  associated_at BIGINT NOT NULL,
  firmware TEXT,
  battery BIGINT,
  PRIMARY KEY (gateway, sensor)
);
CREATE INDEX bonds_by_address ON bonds (address);
