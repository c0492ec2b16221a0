ALTER TABLE cases DROP COLUMN flags;
ALTER TABLE releases DROP COLUMN deprecation;
ALTER TABLE releases DROP COLUMN channel;
