-- Figures of a release that a later measurement of the same bytes has replaced.
CREATE TABLE measurements (
  id TEXT NOT NULL PRIMARY KEY,
  release_id TEXT NOT NULL REFERENCES releases (id),
  card TEXT NOT NULL,
  measured_at TIMESTAMP NOT NULL
);
CREATE INDEX measurements_release ON measurements (release_id, id);
