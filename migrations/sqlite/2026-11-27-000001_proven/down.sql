ALTER TABLE deployment_events DROP COLUMN note;
DROP TABLE proofs;
