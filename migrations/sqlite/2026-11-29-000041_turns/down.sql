DROP TABLE job_turns;
ALTER TABLE jobs DROP COLUMN organization_id;
