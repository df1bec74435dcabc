-- Tasks of dossiers: the home that each was opened for. The PostgreSQL file of the same name is the same text.
ALTER TABLE dossier_tasks ADD COLUMN placement TEXT;    -- the box's home then; missing where it had none
UPDATE dossier_tasks SET placement = (SELECT g.placement FROM gateways g WHERE g.id = dossier_tasks.gateway);
