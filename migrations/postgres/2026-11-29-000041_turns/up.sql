-- Whose work a job is; none for the platform's own.
ALTER TABLE jobs ADD COLUMN organization_id TEXT;
-- When an organisation's job was begun last: who was served longest ago is next.
CREATE TABLE job_turns (
  organization_id TEXT NOT NULL PRIMARY KEY,
  served_at TIMESTAMP NOT NULL
);
