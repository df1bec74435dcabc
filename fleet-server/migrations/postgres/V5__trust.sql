-- Which trust anchors a gateway says that it holds. The PostgreSQL file of the same name is the same text.

ALTER TABLE postures ADD COLUMN trust TEXT;       -- 32 hex digits; missing when its agent does not say
