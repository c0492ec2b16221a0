-- When the person proved that the address is theirs; null for those who have not.
ALTER TABLE users ADD COLUMN email_verified_at TIMESTAMP;

-- Links that are used once: to choose a new password, to prove an address. Of a purpose a person has one open at most.
CREATE TABLE one_time_links (
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
CREATE UNIQUE INDEX one_time_links_open ON one_time_links (user_id, purpose) WHERE used_at IS NULL AND revoked_at IS NULL;
CREATE INDEX one_time_links_created ON one_time_links (created_at);

-- What people were told. `body` is what pages show; `mail` is the whole text, with a secret link, until it was sent or given up.
CREATE TABLE messages (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  language TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES users (id),
  address TEXT NOT NULL,
  organization_id TEXT REFERENCES organizations (id),
  subject TEXT NOT NULL,
  body TEXT NOT NULL,
  mail TEXT,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'failed', 'kept', 'withheld')),
  last_error TEXT,
  created_at TIMESTAMP NOT NULL,
  sent_at TIMESTAMP
);
CREATE INDEX messages_user ON messages (user_id, id);
CREATE INDEX messages_created ON messages (created_at);
