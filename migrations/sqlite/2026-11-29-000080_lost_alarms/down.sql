ALTER TABLE nodes DROP COLUMN alarms_suppressed;
ALTER TABLE nodes DROP COLUMN alarms_dropped;
