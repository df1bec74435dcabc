-- Orders to force: which update of which gateway two people let begin although something stands against it. The PostgreSQL
-- file of the same name is the same text.

CREATE TABLE forces (
  gateway TEXT NOT NULL REFERENCES gateways (id),
  number BIGINT NOT NULL,                         -- rises for each gateway
  digest TEXT NOT NULL,                           -- of what its author signed
  assignment BIGINT NOT NULL,                     -- the director's word that it is for
  overrules TEXT NOT NULL,                        -- names, with commas
  reason TEXT NOT NULL,
  author TEXT NOT NULL,
  reviewer TEXT NOT NULL,
  not_before BIGINT NOT NULL,
  until_at BIGINT NOT NULL,
  brought_at BIGINT NOT NULL,
  brought_by TEXT NOT NULL,
  sent_at BIGINT,
  stands BYTEA,                                   -- what the box last said of it
  said_at BIGINT,
  live BIGINT NOT NULL,                           -- 0 once the box has said how it ended
  paper BYTEA NOT NULL,                           -- as it was signed
  PRIMARY KEY (gateway, number)
);
CREATE INDEX forces_by_live ON forces (live, until_at);
