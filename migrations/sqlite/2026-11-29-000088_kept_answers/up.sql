-- The answer to a request that was sent with a key, kept in the transaction of its change, for whoever sends it again.
CREATE TABLE kept_answers (
  user_id TEXT NOT NULL REFERENCES users (id),
  idempotency_key TEXT NOT NULL,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  request_hash TEXT NOT NULL,
  status BIGINT NOT NULL,
  body TEXT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  PRIMARY KEY (organization_id, user_id, idempotency_key)
);
CREATE INDEX kept_answers_created ON kept_answers (created_at);
