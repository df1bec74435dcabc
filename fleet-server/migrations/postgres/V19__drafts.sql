-- Drafts of policies: who wrote which text, and who read it. The PostgreSQL file of the same name is the same text.

CREATE TABLE drafts (
  id BIGINT PRIMARY KEY,
  title TEXT NOT NULL,
  base BIGINT,                                    -- the policy that it began from
  revision BIGINT NOT NULL,                       -- the newest
  state TEXT NOT NULL,                            -- writing | asked | reviewed | signed | dropped
  moved_by TEXT,                                  -- who brought it there; missing while it is only written
  moved_at BIGINT,
  why TEXT,                                       -- why it was returned or given up
  digest BYTEA,                                   -- SHA-256 over the text that was reviewed
  version BIGINT REFERENCES policies (version),   -- the policy that was signed from it
  read BIGINT,                                    -- the newest revision that somebody reviewed
  begun_at BIGINT NOT NULL,
  begun_by TEXT NOT NULL
);
CREATE INDEX drafts_by_state ON drafts (state);

CREATE TABLE draft_revisions (
  draft BIGINT NOT NULL REFERENCES drafts (id),
  revision BIGINT NOT NULL,
  text BYTEA NOT NULL,                            -- the document, UTF-8
  digest BYTEA NOT NULL,                          -- SHA-256 over it
  saved_at BIGINT NOT NULL,
  saved_by TEXT NOT NULL,
  PRIMARY KEY (draft, revision)
);

-- When a point did not hold, over the whole fleet.
CREATE INDEX drifts_by_point ON drifts (point, noted_at);
