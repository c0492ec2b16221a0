DROP INDEX tags_digest;
