DROP TABLE retired_tags;
UPDATE manifests SET visibility = 'private' WHERE artifact_type = 'application/vnd.pithead.signature.v1+json';
DROP INDEX manifests_unlinked;
ALTER TABLE manifests DROP COLUMN linked;
DROP TABLE manifest_blobs;
