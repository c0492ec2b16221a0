ALTER TABLE organizations DROP COLUMN alarm_pictures;
DROP TABLE alarm_pictures;
