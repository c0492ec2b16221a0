-- Whom a version is for; what is said of one that its vendor no longer recommends; why a moderator should look twice.
ALTER TABLE releases ADD COLUMN channel TEXT NOT NULL DEFAULT 'stable' CHECK (channel IN ('stable', 'beta'));
ALTER TABLE releases ADD COLUMN deprecation TEXT;
ALTER TABLE cases ADD COLUMN flags TEXT NOT NULL DEFAULT '[]';
-- A semantic version with a hyphen is a pre-release.
UPDATE releases SET channel = 'beta' WHERE version LIKE '%-%';
