-- A report is known by its bytes, not by its number: a node that lost its disk counts from one again.
ALTER TABLE alarms ADD COLUMN report_hash TEXT;
UPDATE alarms SET report_hash = id;
ALTER TABLE alarms ALTER COLUMN report_hash SET NOT NULL;
ALTER TABLE alarms ADD UNIQUE (node_id, report_hash);
ALTER TABLE alarms DROP COLUMN sequence; -- and with it the key that it was part of
ALTER TABLE nodes DROP COLUMN last_sequence;
-- What a node says is wrong with itself, as `code: words`.
ALTER TABLE nodes ADD COLUMN trouble TEXT;
