-- What a node's last heartbeat said of alarms that never come: lost for want of room, and held back by the pace of their rule.
ALTER TABLE nodes ADD COLUMN alarms_dropped BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN alarms_suppressed BIGINT NOT NULL DEFAULT 0;
