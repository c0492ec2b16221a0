ALTER TABLE organizations DROP COLUMN resembles;
DROP TABLE organization_names;
