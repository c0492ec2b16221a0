-- Releases that were recalled: nodes ask how many there are, and which.
CREATE INDEX releases_recalled ON releases (id) WHERE recall IS NOT NULL;
