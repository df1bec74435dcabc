-- Campaigns: a release on its way to homes, in waves. The PostgreSQL file of the same name is the same text.

CREATE TABLE campaigns (
  name TEXT PRIMARY KEY,
  state TEXT NOT NULL,                            -- running | stopped | halted | aborted | superseded | done
  reason TEXT NOT NULL,                           -- of that; the other campaign's name for superseded; '' for the rest
  changed_at BIGINT NOT NULL,                     -- when its state last changed, and by whom
  changed_by TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  started_by TEXT NOT NULL,
  seed BYTEA NOT NULL,
  soak_ms BIGINT NOT NULL,
  confirmed_percent BIGINT NOT NULL,
  failed_percent BIGINT NOT NULL,
  act_within_ms BIGINT NOT NULL,
  deadline BIGINT NOT NULL,
  at_once BIGINT NOT NULL,
  open_wave TEXT,                                 -- the newest that opened
  opened_at BIGINT NOT NULL,
  trouble TEXT,                                   -- why nobody can be told at the moment
  live BIGINT NOT NULL,                           -- 1 while anything may still come of it
  revision BIGINT NOT NULL                        -- rises with each change: whoever changes it read that one
);
CREATE INDEX campaigns_live ON campaigns (live);
CREATE INDEX campaigns_by_age ON campaigns (changed_at);

-- What it brings, for which hardware.
CREATE TABLE campaign_targets (
  campaign TEXT NOT NULL REFERENCES campaigns (name),
  path TEXT NOT NULL,
  version TEXT NOT NULL,
  sha256 BYTEA NOT NULL,
  PRIMARY KEY (campaign, path)
);

-- Where each home stands in it.
CREATE TABLE campaign_homes (
  campaign TEXT NOT NULL REFERENCES campaigns (name),
  gateway TEXT NOT NULL REFERENCES gateways (id),
  wave TEXT NOT NULL,
  target TEXT NOT NULL,
  step TEXT NOT NULL,
  step_at BIGINT NOT NULL,                        -- when it began, for steps with a time of their own
  retried BIGINT NOT NULL,
  wants TEXT,                                     -- the word that is still to be said: on | back
  word BIGINT,                                    -- the number of the last one that was
  way TEXT,                                       -- where that one leads
  version_before TEXT NOT NULL,
  back TEXT,                                      -- the path of that, when it was published as the campaign began
  acted_at BIGINT,
  sensors TEXT NOT NULL,                          -- heard when it was told, with a space between
  why TEXT,
  since BIGINT NOT NULL,
  PRIMARY KEY (campaign, gateway)
);
CREATE INDEX campaign_homes_by_gateway ON campaign_homes (gateway);
