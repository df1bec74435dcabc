-- Deadlines of updates: what goes with a word of the director, what was done about it, and what people are told. The
-- PostgreSQL file of the same name is the same text.

-- One row for each word that was given with a reason. Each thing is done once: its column is set in the transaction that
-- does it.
CREATE TABLE deadlines (
  gateway TEXT NOT NULL REFERENCES gateways (id),
  counter BIGINT NOT NULL,                        -- of the word
  version TEXT NOT NULL,
  at BIGINT NOT NULL,
  not_before BIGINT NOT NULL,
  deadline BIGINT NOT NULL,
  reason TEXT NOT NULL,                           -- for clinicians
  person TEXT NOT NULL,                           -- who is asked
  compensate BIGINT,                              -- the policy that makes up for it from the deadline on
  afterwards BIGINT,                              -- the policy that ends that
  asked_at BIGINT,
  passed_at BIGINT,
  compensates BIGINT NOT NULL DEFAULT 0,          -- 1 while the compensating policy is the one that counts
  ended_at BIGINT,
  PRIMARY KEY (gateway, counter)
);
CREATE INDEX deadlines_open ON deadlines (gateway, counter) WHERE ended_at IS NULL;
CREATE INDEX deadlines_ended ON deadlines (ended_at) WHERE ended_at IS NOT NULL;

-- What is to be told outside the console: one row for each message and way.
CREATE TABLE notices (
  id TEXT PRIMARY KEY,
  about TEXT NOT NULL,                            -- the same for one message on all its ways
  way TEXT NOT NULL,                              -- mail, webhook
  gateway TEXT,
  person TEXT NOT NULL,
  subject TEXT NOT NULL,
  body TEXT NOT NULL,
  made_at BIGINT NOT NULL,
  tries BIGINT NOT NULL DEFAULT 0,
  next_at BIGINT,                                 -- when it is tried next; none when it is out, or given up
  sent_at BIGINT
);
CREATE INDEX notices_next ON notices (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX notices_about ON notices (about);
CREATE INDEX notices_made ON notices (made_at);
