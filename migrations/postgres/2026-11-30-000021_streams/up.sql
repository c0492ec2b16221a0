-- Alarms are episodes, and reports come in streams.
-- The node's name of it; none of an agent from before.
ALTER TABLE alarms ADD COLUMN episode TEXT;
-- Camera or sensor; empty where the node was told of none.
ALTER TABLE alarms ADD COLUMN source TEXT NOT NULL DEFAULT '';
-- The last frame that had it; how many had it; when it was over, none while it goes on.
ALTER TABLE alarms ADD COLUMN last_at TIMESTAMP;
ALTER TABLE alarms ADD COLUMN ended_at TIMESTAMP;
ALTER TABLE alarms ADD COLUMN count BIGINT NOT NULL DEFAULT 1 CHECK (count > 0);
UPDATE alarms SET last_at = raised_at, ended_at = raised_at;
ALTER TABLE alarms ALTER COLUMN last_at SET NOT NULL;
-- It was more than ten minutes old when it came.
ALTER TABLE alarms ADD COLUMN late BOOLEAN NOT NULL DEFAULT FALSE;
-- When by the node's clock, where that is off by more than a minute.
ALTER TABLE alarms ADD COLUMN node_at TIMESTAMP;
-- What raised it beside the release: version, parameters, place; JSON.
ALTER TABLE alarms ADD COLUMN origin TEXT NOT NULL DEFAULT '{}';
ALTER TABLE alarms ADD UNIQUE (node_id, episode);
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
