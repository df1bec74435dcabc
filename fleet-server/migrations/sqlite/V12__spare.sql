-- Spare keys: what a gateway speaks with while its TPM does not answer; and logs of measurements between its answers. The PostgreSQL file of the same name is the
-- same text.

ALTER TABLE certificates ADD COLUMN spare BIGINT NOT NULL DEFAULT 0;    -- 1 over a spare key
ALTER TABLE streams ADD COLUMN spare BIGINT NOT NULL DEFAULT 0;         -- 1 when a spare key began it: no other goes on with it
ALTER TABLE gateways ADD COLUMN by_spare BIGINT NOT NULL DEFAULT 0;     -- 1 when its newest connection is by its spare key
CREATE INDEX certificates_by_point ON certificates (point);

-- What is held of the logs of measurements of each gateway's boot.
CREATE TABLE measured (
  gateway TEXT PRIMARY KEY,
  held BYTEA NOT NULL                             -- CBOR: the firmware's log while it is not whole, else what both replay to
);
