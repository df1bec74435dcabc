-- By when a home should have what its campaign brings, counted from the first word for it: a stop gives nobody longer. Homes
-- that were told before this have the deadline of their next word. The PostgreSQL file of the same name is the same text.
ALTER TABLE campaign_homes ADD COLUMN due BIGINT;
