ALTER TABLE nodes DROP COLUMN doubled_at;
ALTER TABLE nodes DROP COLUMN instance_before;
ALTER TABLE nodes DROP COLUMN instance;
