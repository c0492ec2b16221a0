-- The tags of a manifest, without a look at all of its repository.
CREATE INDEX tags_digest ON tags (repository_id, digest, name);
