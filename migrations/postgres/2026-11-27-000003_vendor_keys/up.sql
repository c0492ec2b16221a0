-- Public keys with which vendors sign their releases. One that is revoked is never taken again.
CREATE TABLE vendor_keys (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  name TEXT NOT NULL,
  kid TEXT NOT NULL,
  public_key TEXT NOT NULL,
  created_by TEXT NOT NULL REFERENCES users (id),
  created_at TIMESTAMP NOT NULL,
  revoked_at TIMESTAMP,
  UNIQUE (organization_id, kid)
);
