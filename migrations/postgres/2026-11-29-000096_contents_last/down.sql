DROP INDEX manifests_subject;
CREATE INDEX manifests_subject ON manifests (repository_id, subject);
