-- What came of the last time that a release was measured again, as JSON.
ALTER TABLE releases ADD COLUMN measured TEXT;
