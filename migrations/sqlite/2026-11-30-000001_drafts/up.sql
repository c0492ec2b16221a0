-- Apps that begin with bare models: what was uploaded, what was read of it, and what its developer says.
CREATE TABLE drafts (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  state TEXT NOT NULL CHECK (state IN ('reading', 'read', 'answering')),
  revision BIGINT NOT NULL CHECK (revision >= 0),
  files TEXT NOT NULL,
  facts TEXT NOT NULL,
  form TEXT NOT NULL,
  reading TEXT NOT NULL,
  results TEXT NOT NULL,
  created_by TEXT NOT NULL REFERENCES users (id),
  created_at TIMESTAMP NOT NULL,
  expires_at TIMESTAMP NOT NULL
);
CREATE INDEX drafts_organization ON drafts (organization_id, id);
CREATE INDEX drafts_expiry ON drafts (expires_at);
