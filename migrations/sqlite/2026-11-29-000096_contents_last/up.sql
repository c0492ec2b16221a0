-- A manifest's content lies last, for SQLite walks all of it (up to 4 MiB) to a column behind it. SQLite moves no column: the table is made
-- anew, with the one that refers to it.
CREATE TABLE manifests_new (
  repository_id TEXT NOT NULL REFERENCES repositories (id),
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  artifact_type TEXT,
  subject TEXT,
  visibility TEXT NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'kept', 'public')),
  linked BOOLEAN NOT NULL DEFAULT FALSE,
  created_at TIMESTAMP NOT NULL,
  annotations TEXT,
  content BLOB NOT NULL,
  PRIMARY KEY (repository_id, digest)
);
INSERT INTO manifests_new (repository_id, digest, media_type, artifact_type, subject, visibility, linked, created_at, annotations, content)
SELECT repository_id, digest, media_type, artifact_type, subject, visibility, linked, created_at, annotations, content FROM manifests;
CREATE TABLE manifest_blobs_new (
  repository_id TEXT NOT NULL,
  digest TEXT NOT NULL,
  manifest TEXT NOT NULL,
  PRIMARY KEY (repository_id, digest, manifest),
  FOREIGN KEY (repository_id, manifest) REFERENCES manifests_new (repository_id, digest)
);
INSERT INTO manifest_blobs_new (repository_id, digest, manifest) SELECT repository_id, digest, manifest FROM manifest_blobs;
DROP TABLE manifest_blobs;
DROP TABLE manifests;
ALTER TABLE manifests_new RENAME TO manifests;
ALTER TABLE manifest_blobs_new RENAME TO manifest_blobs;
CREATE INDEX manifest_blobs_manifest ON manifest_blobs (repository_id, manifest);
CREATE INDEX manifests_unlinked ON manifests (repository_id, digest) WHERE NOT linked;
-- Lists come in the order of their times.
CREATE INDEX manifests_subject ON manifests (repository_id, subject, created_at, digest);
