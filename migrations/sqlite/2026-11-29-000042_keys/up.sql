-- The keys that this database was used with: a server without them does not start on it.
CREATE TABLE key_pins (
  name TEXT NOT NULL PRIMARY KEY,
  fingerprint TEXT NOT NULL
);
-- What was signed before had keys too; which, the next start tells.
INSERT INTO key_pins (name, fingerprint)
  SELECT 'platform', '' WHERE EXISTS (SELECT 1 FROM licenses) OR EXISTS (SELECT 1 FROM releases WHERE published_at IS NOT NULL);
INSERT INTO key_pins (name, fingerprint)
  SELECT 'node-ca', '' WHERE EXISTS (SELECT 1 FROM nodes WHERE certificate_serial IS NOT NULL);
