-- Sets with the new figures go, with their scores.
DELETE FROM evaluation_scores WHERE set_id IN (SELECT id FROM evaluation_sets WHERE metric IN ('mask-map-50', 'oks-map-50', 'cer'));
DELETE FROM blob_pins WHERE holder IN (SELECT id FROM evaluation_sets WHERE metric IN ('mask-map-50', 'oks-map-50', 'cer'));
DELETE FROM evaluation_sets WHERE metric IN ('mask-map-50', 'oks-map-50', 'cer');
CREATE TABLE evaluation_sets_new (
  id TEXT NOT NULL PRIMARY KEY,
  scenario TEXT NOT NULL REFERENCES scenarios (slug),
  name_zh TEXT NOT NULL,
  name_en TEXT NOT NULL,
  metric TEXT NOT NULL CHECK (metric IN ('accuracy', 'map-50', 'rmse', 'mae')),
  input TEXT NOT NULL,
  unit TEXT NOT NULL,
  samples BIGINT NOT NULL CHECK (samples > 0),
  digest TEXT NOT NULL REFERENCES blobs (digest),
  size_bytes BIGINT NOT NULL CHECK (size_bytes > 0),
  created_by TEXT NOT NULL REFERENCES users (id),
  created_at TIMESTAMP NOT NULL,
  retired_at TIMESTAMP
);
INSERT INTO evaluation_sets_new (id, scenario, name_zh, name_en, metric, input, unit, samples, digest, size_bytes, created_by, created_at, retired_at)
SELECT id, scenario, name_zh, name_en, metric, input, unit, samples, digest, size_bytes, created_by, created_at, retired_at FROM evaluation_sets;
CREATE TABLE evaluation_scores_new (
  release_id TEXT NOT NULL REFERENCES releases (id),
  set_id TEXT NOT NULL REFERENCES evaluation_sets_new (id),
  digest TEXT NOT NULL,
  value DOUBLE PRECISION,
  samples BIGINT NOT NULL CHECK (samples >= 0),
  failures BIGINT NOT NULL CHECK (failures >= 0),
  reason TEXT,
  engine TEXT NOT NULL,
  hardware TEXT NOT NULL,
  scored_at TIMESTAMP NOT NULL,
  PRIMARY KEY (release_id, set_id),
  CHECK ((value IS NULL) <> (reason IS NULL))
);
INSERT INTO evaluation_scores_new (release_id, set_id, digest, value, samples, failures, reason, engine, hardware, scored_at)
SELECT release_id, set_id, digest, value, samples, failures, reason, engine, hardware, scored_at FROM evaluation_scores;
DROP TABLE evaluation_scores;
DROP TABLE evaluation_sets;
ALTER TABLE evaluation_sets_new RENAME TO evaluation_sets;
ALTER TABLE evaluation_scores_new RENAME TO evaluation_scores;
CREATE INDEX evaluation_sets_scenario ON evaluation_sets (scenario, retired_at);
CREATE INDEX evaluation_sets_digest ON evaluation_sets (digest);
CREATE INDEX evaluation_scores_set ON evaluation_scores (set_id, release_id);
CREATE INDEX evaluation_scores_at ON evaluation_scores (scored_at);
