-- Which write attempts stand in the audit trail, so that one that comes again in another epoch is not told twice. The
-- PostgreSQL file of the same name is the same text.

CREATE TABLE attempts (
  gateway TEXT NOT NULL,
  epoch TEXT NOT NULL,
  seq BIGINT NOT NULL,
  digest TEXT NOT NULL,                           -- SHA-256 of the record, hex
  received_at BIGINT NOT NULL,
  PRIMARY KEY (gateway, epoch, seq)
);
CREATE INDEX attempts_by_digest ON attempts (gateway, digest);
CREATE INDEX attempts_by_age ON attempts (received_at);
