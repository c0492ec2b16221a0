-- Links by hand are over.
CREATE TABLE one_time_links_new (
  id TEXT NOT NULL PRIMARY KEY,
  purpose TEXT NOT NULL CHECK (purpose IN ('reset-password', 'prove-address')),
  user_id TEXT NOT NULL REFERENCES users (id),
  email TEXT NOT NULL,
  token_hash TEXT NOT NULL UNIQUE,
  created_at TIMESTAMP NOT NULL,
  expires_at TIMESTAMP NOT NULL,
  used_at TIMESTAMP,
  revoked_at TIMESTAMP
);
INSERT INTO one_time_links_new (id, purpose, user_id, email, token_hash, created_at, expires_at, used_at, revoked_at)
SELECT id, purpose, user_id, email, token_hash, created_at, expires_at, used_at, revoked_at FROM one_time_links WHERE purpose <> 'reset-by-hand';
DROP TABLE one_time_links;
ALTER TABLE one_time_links_new RENAME TO one_time_links;
CREATE UNIQUE INDEX one_time_links_open ON one_time_links (user_id, purpose) WHERE used_at IS NULL AND revoked_at IS NULL;
CREATE INDEX one_time_links_created ON one_time_links (created_at);
