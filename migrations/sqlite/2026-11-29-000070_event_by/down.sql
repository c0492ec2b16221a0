ALTER TABLE deployment_events DROP COLUMN made_by;
