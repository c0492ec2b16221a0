DROP TABLE usage_counters;
DROP TABLE streams;
CREATE TABLE alarms_new (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  node_id TEXT NOT NULL REFERENCES nodes (id),
  deployment_id TEXT NOT NULL REFERENCES deployments (id),
  release_digest TEXT NOT NULL,
  rule TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('notice', 'warning', 'critical')),
  text_zh TEXT NOT NULL,
  text_en TEXT NOT NULL,
  result TEXT NOT NULL,
  report_hash TEXT NOT NULL,
  raised_at TIMESTAMP NOT NULL,
  received_at TIMESTAMP NOT NULL,
  UNIQUE (node_id, report_hash)
);
INSERT INTO alarms_new
SELECT id, organization_id, node_id, deployment_id, release_digest, rule, level, text_zh, text_en, result, report_hash, raised_at, received_at FROM alarms;
DROP TABLE alarms;
ALTER TABLE alarms_new RENAME TO alarms;
CREATE INDEX alarms_organization ON alarms (organization_id, id);
CREATE INDEX alarms_received ON alarms (received_at);
