-- Tasks of dossiers: one for each home in which a device is, where it was one for each device. The PostgreSQL file of the same
-- name is the same text.
CREATE TABLE dossier_tasks_of_homes (
  id BIGINT PRIMARY KEY,
  dossier TEXT NOT NULL REFERENCES dossiers (sha256),
  gateway TEXT NOT NULL REFERENCES gateways (id),
  device TEXT NOT NULL,                           -- as the box calls it, or who opened the task
  shown TEXT,                                     -- what the device said of its firmware then
  state TEXT NOT NULL,                            -- open | planned | seen | done | refused | withdrawn | superseded | recalled
  person TEXT,                                    -- who brought it there; missing while it is open
  day BIGINT,                                     -- of planned: its first moment
  version TEXT,                                   -- of seen and done: what the device shows
  first TEXT,                                     -- of done: who saw it first, where two had to
  reason TEXT,                                    -- of refused and withdrawn; of superseded: what took its place
  since BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  opened_by TEXT NOT NULL,
  revision BIGINT NOT NULL,                       -- rises with each step: whoever changes it read that one
  placement TEXT                                  -- the box's home when it was opened; missing where it had none
);
INSERT INTO dossier_tasks_of_homes
  SELECT id, dossier, gateway, device, shown, state, person, day, version, first, reason, since, opened_at, opened_by, revision,
    placement FROM dossier_tasks;
DROP TABLE dossier_tasks;
ALTER TABLE dossier_tasks_of_homes RENAME TO dossier_tasks;
CREATE INDEX dossier_tasks_by_state ON dossier_tasks (state, opened_at);
CREATE INDEX dossier_tasks_by_gateway ON dossier_tasks (gateway);
-- Two that are asked for at once never are the same.
CREATE UNIQUE INDEX dossier_tasks_once ON dossier_tasks (dossier, gateway, device)
  WHERE state IN ('open', 'planned', 'seen');
CREATE INDEX dossier_tasks_by_dossier ON dossier_tasks (dossier, gateway, device);
