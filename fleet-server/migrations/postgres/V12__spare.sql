-- Spare keys: what a gateway speaks with while its TPM does not answer. The PostgreSQL file of the same name is the
-- same text.

ALTER TABLE certificates ADD COLUMN spare BIGINT NOT NULL DEFAULT 0;    -- 1 over a spare key
ALTER TABLE streams ADD COLUMN spare BIGINT NOT NULL DEFAULT 0;         -- 1 when a spare key began it: no other goes on with it
