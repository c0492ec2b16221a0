-- Which manifest names which blob, so that the use of a blob is looked up instead of read out of contents. Rows of the version before are
-- not linked yet: the server does that at its start (registry::links), for their contents are JSON of strangers.
CREATE TABLE manifest_blobs (
  repository_id TEXT NOT NULL,
  digest TEXT NOT NULL,
  manifest TEXT NOT NULL,
  PRIMARY KEY (repository_id, digest, manifest),
  FOREIGN KEY (repository_id, manifest) REFERENCES manifests (repository_id, digest)
);
CREATE INDEX manifest_blobs_manifest ON manifest_blobs (repository_id, manifest);
ALTER TABLE manifests ADD COLUMN linked BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX manifests_unlinked ON manifests (repository_id, digest) WHERE NOT linked;

-- Lists of referrers repeat type and annotations of each; longer ones are read in the manifest itself.
UPDATE manifests SET annotations = NULL WHERE length(annotations) > 16384;
UPDATE manifests SET artifact_type = NULL WHERE length(artifact_type) > 255;

-- The platform's own signatures must stay: they were stored in the transaction that published their release. What else refers to a release
-- is its owner's to delete.
UPDATE manifests SET visibility = 'kept'
WHERE visibility = 'private' AND artifact_type = 'application/vnd.pithead.signature.v1+json' AND EXISTS (
  SELECT 1 FROM releases
    JOIN apps ON apps.id = releases.app_id
    JOIN organizations ON organizations.id = apps.organization_id
    JOIN repositories ON repositories.name = organizations.slug || '/' || apps.slug
  WHERE repositories.id = manifests.repository_id AND releases.digest = manifests.subject
    AND releases.published_at = manifests.created_at);

-- What a version's tag named before it was deleted: it may come back, and never name anything else.
CREATE TABLE retired_tags (
  repository_id TEXT NOT NULL REFERENCES repositories (id),
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (repository_id, name)
);
