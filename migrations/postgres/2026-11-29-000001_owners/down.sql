ALTER TABLE throttles ADD COLUMN blocked_until TIMESTAMP;
DROP TABLE blob_pins;
ALTER TABLE manifests DROP COLUMN visibility;
