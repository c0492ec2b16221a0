-- Hidden test sets of scenarios. The archive is a blob that no repository links, so that nobody can pull it.
CREATE TABLE evaluation_sets (
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
CREATE INDEX evaluation_sets_scenario ON evaluation_sets (scenario, retired_at);
CREATE INDEX evaluation_sets_digest ON evaluation_sets (digest);
-- What a release got on a set: a figure, or why there is none.
CREATE TABLE evaluation_scores (
  release_id TEXT NOT NULL REFERENCES releases (id),
  set_id TEXT NOT NULL REFERENCES evaluation_sets (id),
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
CREATE INDEX evaluation_scores_set ON evaluation_scores (set_id, release_id);
CREATE INDEX evaluation_scores_at ON evaluation_scores (scored_at);
