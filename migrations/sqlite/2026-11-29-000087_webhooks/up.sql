-- Addresses of organisations that are told what happens, what each is told, and how that went.
CREATE TABLE webhooks (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  url TEXT NOT NULL,
  kinds TEXT NOT NULL,
  secret TEXT NOT NULL,
  previous_secret TEXT,
  previous_until TIMESTAMP,
  state TEXT NOT NULL CHECK (state IN ('on', 'off', 'removed')),
  failing_since TIMESTAMP,
  lost BIGINT NOT NULL,
  created_by TEXT NOT NULL REFERENCES users (id),
  created_at TIMESTAMP NOT NULL,
  removed_at TIMESTAMP
);
CREATE INDEX webhooks_organization ON webhooks (organization_id);
CREATE TABLE webhook_deliveries (
  id TEXT NOT NULL PRIMARY KEY,
  webhook_id TEXT NOT NULL REFERENCES webhooks (id),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  message_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  urgent BOOLEAN NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'given_up')),
  tries BIGINT NOT NULL,
  due_at TIMESTAMP NOT NULL,
  created_at TIMESTAMP NOT NULL,
  UNIQUE (webhook_id, message_id)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, urgent, due_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_created ON webhook_deliveries (created_at);
CREATE TABLE webhook_attempts (
  id TEXT NOT NULL PRIMARY KEY,
  delivery_id TEXT NOT NULL REFERENCES webhook_deliveries (id),
  at TIMESTAMP NOT NULL,
  millis BIGINT NOT NULL,
  status BIGINT,
  fault TEXT,
  answer TEXT NOT NULL
);
CREATE INDEX webhook_attempts_delivery ON webhook_attempts (delivery_id);
