-- Advisories on devices that lie in people or act on them, the register of those, and what is weighed for each. The PostgreSQL file
-- of the same name is the same text.
CREATE TABLE implants (
  id BIGINT PRIMARY KEY,
  placement TEXT NOT NULL REFERENCES placements (id),
  device TEXT NOT NULL,                           -- what it is called here: a kind or a number, never a person
  kind TEXT NOT NULL,                             -- implant | worn
  maker TEXT NOT NULL,
  model TEXT NOT NULL,
  shows TEXT,                                     -- the version that it showed last; missing where nobody looked
  told_at BIGINT NOT NULL,
  told_by TEXT NOT NULL,
  ended_at BIGINT,                                -- missing while it is there
  ended_why TEXT
);
CREATE UNIQUE INDEX implants_once ON implants (placement, device) WHERE ended_at IS NULL;
CREATE TABLE advisories (
  sha256 TEXT PRIMARY KEY,
  namespace TEXT NOT NULL,                        -- with the next: which document, over all its revisions
  tracking TEXT NOT NULL,
  bytes BYTEA NOT NULL,                           -- as it was given
  publisher TEXT NOT NULL,                        -- and what else a list shows of it
  version TEXT NOT NULL,
  released BIGINT NOT NULL,
  title TEXT NOT NULL,
  tlp TEXT,
  makers TEXT NOT NULL,                           -- words of the makers that it names, each between spaces
  newest BIGINT NOT NULL,                         -- 1: no later revision of it is here
  removed_at BIGINT,                              -- when a person took it out; missing while it counts
  removed_why TEXT,
  taken_at BIGINT NOT NULL,
  taken_by TEXT NOT NULL
);
CREATE UNIQUE INDEX advisories_newest ON advisories (namespace, tracking) WHERE newest = 1;
CREATE TABLE weighings (
  id BIGINT PRIMARY KEY,
  advisory TEXT NOT NULL REFERENCES advisories (sha256),
  implant BIGINT NOT NULL REFERENCES implants (id),
  matter TEXT NOT NULL,                           -- SHA-256 over what this revision says of this device
  state TEXT NOT NULL,                            -- open | decided | done | not-it | withdrawn | superseded | gone
  person TEXT,                                    -- who decided, looked or withdrew; missing while it is open
  choice TEXT,                                    -- act | watch | leave
  day BIGINT,                                     -- of act and watch: its first moment
  decided_by TEXT,                                -- with what follows: what was decided last, whatever became of it since
  weighed_with TEXT,
  without_change TEXT,
  by_change TEXT,
  reason TEXT,                                    -- of not-it and withdrawn
  since BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  opened_by TEXT NOT NULL,
  told_at BIGINT,                                 -- when it was told outside the console that there is something to weigh
  revision BIGINT NOT NULL                        -- rises with each step: whoever changes it read that one
);
CREATE INDEX weighings_by_state ON weighings (state, opened_at);
CREATE INDEX weighings_by_implant ON weighings (implant);
-- Of one device, one revision is asked for once.
CREATE UNIQUE INDEX weighings_once ON weighings (advisory, implant) WHERE state IN ('open', 'decided');
