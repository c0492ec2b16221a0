-- The name of the person who asked for it, as it was then; a node's own reports have none.
ALTER TABLE deployment_events ADD COLUMN made_by TEXT;
