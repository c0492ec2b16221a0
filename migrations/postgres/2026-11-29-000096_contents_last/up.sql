-- Lists come in the order of their times. (In SQLite contents are moved behind the columns that are read without them; here they lie apart.)
DROP INDEX manifests_subject;
CREATE INDEX manifests_subject ON manifests (repository_id, subject, created_at, digest);
