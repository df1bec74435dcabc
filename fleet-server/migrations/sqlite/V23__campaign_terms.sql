-- What goes with each word of a campaign: why it matters, by when a home should have it, who is asked when it waits for too
-- long, and the policies that make up for it. The PostgreSQL file of the same name is the same text.
ALTER TABLE campaigns ADD COLUMN why TEXT;              -- for clinicians
ALTER TABLE campaigns ADD COLUMN person TEXT;
ALTER TABLE campaigns ADD COLUMN compensate BIGINT;
ALTER TABLE campaigns ADD COLUMN afterwards BIGINT;
ALTER TABLE campaigns ADD COLUMN each_ms BIGINT;        -- how long a home may take, from when it is told
