ALTER TABLE releases DROP COLUMN measured;
