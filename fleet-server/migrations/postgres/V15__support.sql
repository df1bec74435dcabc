-- Support sessions: who asked for which, and what became of them. The PostgreSQL file of the same name is the same text.

CREATE TABLE support_sessions (
  gateway TEXT NOT NULL,
  number BIGINT NOT NULL,
  ticket TEXT NOT NULL,
  reason TEXT NOT NULL,
  asked_by TEXT NOT NULL,
  port BIGINT NOT NULL,
  lasts_s BIGINT NOT NULL,
  asked_at BIGINT NOT NULL,                       -- server's clock, as all moments here
  foreign_here BIGINT NOT NULL,                   -- 1 when only the box told of it: this server was restored from a backup
  live BIGINT NOT NULL,                           -- 1 until it is known to be over
  end_by TEXT,
  end_at BIGINT,
  opened_heard BIGINT,
  refused TEXT,                                   -- why, in the protocol's word
  ended_heard BIGINT,
  cause TEXT,                                     -- why, in the protocol's word
  lasted_s BIGINT,
  links BIGINT,                                   -- as the box counted
  in_bytes BIGINT,
  out_bytes BIGINT,
  through_links BIGINT NOT NULL DEFAULT 0,        -- as this server counted
  through_in BIGINT NOT NULL DEFAULT 0,
  through_out BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (gateway, number)
);
CREATE INDEX support_sessions_by_age ON support_sessions (asked_at);
CREATE INDEX support_sessions_live ON support_sessions (live);
