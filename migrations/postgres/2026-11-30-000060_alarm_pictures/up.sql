-- Pictures of alarms: a small one that came by itself, and the whole one where somebody has asked for it.
CREATE TABLE alarm_pictures (
  alarm_id TEXT NOT NULL PRIMARY KEY REFERENCES alarms (id),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  node_id TEXT NOT NULL REFERENCES nodes (id),
  -- The node's name of the alarm.
  episode TEXT NOT NULL,
  -- Size of the source picture, in whose pixels the boxes of the alarm's result are.
  width BIGINT NOT NULL CHECK (width > 0),
  height BIGINT NOT NULL CHECK (height > 0),
  privacy TEXT NOT NULL CHECK (privacy IN ('blurred', 'plain')),
  small BYTEA NOT NULL,
  whole BYTEA,
  -- Who asked for the whole one, by the name of then, and when; when the node said that it has it no more.
  asked_by TEXT,
  asked_at TIMESTAMP,
  gone_at TIMESTAMP,
  received_at TIMESTAMP NOT NULL
);
CREATE INDEX alarm_pictures_wanted ON alarm_pictures (node_id, asked_at) WHERE asked_at IS NOT NULL AND whole IS NULL AND gone_at IS NULL;
CREATE INDEX alarm_pictures_organization ON alarm_pictures (organization_id, alarm_id);
-- What a mine wants of them.
ALTER TABLE organizations ADD COLUMN alarm_pictures TEXT NOT NULL DEFAULT 'blurred' CHECK (alarm_pictures IN ('blurred', 'plain', 'off'));
