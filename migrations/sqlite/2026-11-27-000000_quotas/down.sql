DROP INDEX repositories_organization;
DROP INDEX repository_blobs_digest;
DROP TABLE storage_quotas;
