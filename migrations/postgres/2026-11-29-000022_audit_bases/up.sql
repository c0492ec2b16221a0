-- Number and hash of the newest record that was removed by the retention of the log; 0 where none was. A seal holds it.
ALTER TABLE audit_heads ADD COLUMN base_sequence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_heads ADD COLUMN base_hash TEXT NOT NULL DEFAULT '';
