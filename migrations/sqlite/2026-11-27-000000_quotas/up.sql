-- What an organisation may store in the registry, where that differs from the settings.
CREATE TABLE storage_quotas (
  organization_id TEXT NOT NULL PRIMARY KEY REFERENCES organizations (id),
  limit_bytes BIGINT NOT NULL CHECK (limit_bytes >= 0)
);
CREATE INDEX repository_blobs_digest ON repository_blobs (digest);
CREATE INDEX repositories_organization ON repositories (organization_id);
