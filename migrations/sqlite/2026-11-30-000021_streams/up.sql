-- Alarms are episodes, and reports come in streams. SQLite gives no new column a value of another one: the table is made anew.
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
  -- The node's name of it; none of an agent from before.
  episode TEXT,
  -- Camera or sensor; empty where the node was told of none.
  source TEXT NOT NULL DEFAULT '',
  -- The last frame that had it; how many had it; when it was over, none while it goes on.
  last_at TIMESTAMP NOT NULL,
  ended_at TIMESTAMP,
  count BIGINT NOT NULL DEFAULT 1 CHECK (count > 0),
  -- It was more than ten minutes old when it came.
  late BOOLEAN NOT NULL DEFAULT FALSE,
  -- When by the node's clock, where that is off by more than a minute.
  node_at TIMESTAMP,
  -- What raised it beside the release: version, parameters, place; JSON.
  origin TEXT NOT NULL DEFAULT '{}',
  UNIQUE (node_id, report_hash),
  UNIQUE (node_id, episode)
);
INSERT INTO alarms_new (id, organization_id, node_id, deployment_id, release_digest, rule, level, text_zh, text_en, result, report_hash, raised_at, received_at, last_at, ended_at)
SELECT id, organization_id, node_id, deployment_id, release_digest, rule, level, text_zh, text_en, result, report_hash, raised_at, received_at, raised_at, raised_at FROM alarms;
DROP TABLE alarms;
ALTER TABLE alarms_new RENAME TO alarms;
CREATE INDEX alarms_organization ON alarms (organization_id, id);
CREATE INDEX alarms_received ON alarms (received_at);
-- What the platform has of each stream of a node (app_package::stream): the highest number and its digest, and what is missing below it, JSON.
CREATE TABLE streams (
  node_id TEXT NOT NULL REFERENCES nodes (id),
  stream TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('status', 'critical', 'alarms', 'usage')),
  last_seq BIGINT NOT NULL,
  head TEXT NOT NULL,
  gaps TEXT NOT NULL,
  -- Records that the node has told as dropped.
  lost BIGINT NOT NULL DEFAULT 0,
  first_seen TIMESTAMP NOT NULL,
  last_at TIMESTAMP NOT NULL,
  PRIMARY KEY (node_id, stream)
);
-- Counters as nodes tell them, cumulative within an epoch: the highest counts.
CREATE TABLE usage_counters (
  node_id TEXT NOT NULL REFERENCES nodes (id),
  deployment_id TEXT NOT NULL REFERENCES deployments (id),
  meter TEXT NOT NULL,
  epoch TEXT NOT NULL,
  count BIGINT NOT NULL CHECK (count >= 0),
  at TIMESTAMP NOT NULL,
  PRIMARY KEY (node_id, deployment_id, meter, epoch)
);
CREATE INDEX usage_counters_deployment ON usage_counters (deployment_id);
