-- What else is known of a reading: reasons of its grade, marks, the sensor's own time, what was sent before a
-- conversion. JSON as the protocol names its parts; NULL when there is nothing.

ALTER TABLE readings ADD COLUMN details TEXT;
ALTER TABLE latest ADD COLUMN details TEXT;
