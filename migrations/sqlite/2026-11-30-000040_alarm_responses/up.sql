-- What people have answered to alarms. An alarm without a row is unacknowledged. `alarm_id` is of `alarms` or of `equipment_alarms`, which
-- come and go by rules of their own.
CREATE TABLE alarm_responses (
  alarm_id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  acknowledged_by TEXT NOT NULL,
  acknowledged_at TIMESTAMP NOT NULL,
  verdict TEXT CHECK (verdict IN ('real', 'false', 'test'))
);
CREATE INDEX alarm_responses_acknowledged ON alarm_responses (acknowledged_at);
-- What is shelved or out of service: a rule at a subject (a deployment, a node, a licence), with all alarms of it.
CREATE TABLE alarm_suppressions (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  subject TEXT NOT NULL,
  rule TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('shelved', 'out-of-service')),
  reason TEXT NOT NULL,
  made_by TEXT NOT NULL,
  made_at TIMESTAMP NOT NULL,
  ends_at TIMESTAMP,
  ended_at TIMESTAMP
);
CREATE UNIQUE INDEX alarm_suppressions_point ON alarm_suppressions (organization_id, subject, rule) WHERE ended_at IS NULL;
-- Who did what with an alarm, when and why.
CREATE TABLE alarm_acts (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  alarm_id TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('acknowledged', 'judged', 'shelved', 'unshelved', 'taken-out', 'put-back')),
  verdict TEXT CHECK (verdict IN ('real', 'false', 'test')),
  note TEXT NOT NULL,
  ends_at TIMESTAMP,
  user_id TEXT NOT NULL REFERENCES users (id),
  made_by TEXT NOT NULL,
  at TIMESTAMP NOT NULL
);
CREATE INDEX alarm_acts_alarm ON alarm_acts (alarm_id, id);
CREATE INDEX alarm_acts_at ON alarm_acts (at);
-- The board asks level by level and point by point, the newest first.
CREATE INDEX alarms_level ON alarms (organization_id, level, id);
CREATE INDEX alarms_point ON alarms (deployment_id, rule, id);
CREATE INDEX alarms_raised ON alarms (organization_id, raised_at);
