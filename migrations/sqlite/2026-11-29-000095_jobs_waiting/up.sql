-- A node's rebuilding waits once, for it reads what there is when it runs.
DELETE FROM jobs WHERE kind = 'rebuild-node' AND state = 'waiting'
  AND id NOT IN (SELECT MIN(id) FROM jobs WHERE kind = 'rebuild-node' AND state = 'waiting' GROUP BY payload);
CREATE UNIQUE INDEX jobs_once ON jobs (payload) WHERE state = 'waiting' AND kind = 'rebuild-node';
-- Whose work waits, and the oldest of it, without a look at the rest.
CREATE INDEX jobs_waiting ON jobs (kind, organization_id, run_at, id) WHERE state = 'waiting';
