-- Firmware of devices: dossiers, and what they make people do. The PostgreSQL file of the same name is the same text.

-- As they were signed: what a person was shown stays to be seen when the repository holds it no more.
CREATE TABLE dossiers (
  sha256 TEXT PRIMARY KEY,                        -- hex
  path TEXT NOT NULL,                             -- among the targets
  bytes BYTEA NOT NULL,                           -- canonical JSON
  taken_at BIGINT NOT NULL
);

-- One row for each device that a dossier is about.
CREATE TABLE dossier_tasks (
  id BIGINT PRIMARY KEY,
  dossier TEXT NOT NULL REFERENCES dossiers (sha256),
  gateway TEXT NOT NULL REFERENCES gateways (id),
  device TEXT NOT NULL,                           -- as the box calls it, or who opened the task
  shown TEXT,                                     -- what the device said of its firmware then
  state TEXT NOT NULL,                            -- open | planned | seen | done | refused | withdrawn
  person TEXT,                                    -- who brought it there; missing while it is open
  day BIGINT,                                     -- of planned: its first moment
  version TEXT,                                   -- of seen and done: what the device shows
  first TEXT,                                     -- of done: who saw it first, where two had to
  reason TEXT,                                    -- of refused and withdrawn
  since BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  opened_by TEXT NOT NULL,
  revision BIGINT NOT NULL,                       -- rises with each step: whoever changes it read that one
  UNIQUE (dossier, gateway, device)
);
CREATE INDEX dossier_tasks_by_state ON dossier_tasks (state, opened_at);
CREATE INDEX dossier_tasks_by_gateway ON dossier_tasks (gateway);
