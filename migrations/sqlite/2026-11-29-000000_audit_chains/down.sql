-- Every record stays: those of the new chains follow the old chain in order of time and keep their hashes, so the version before finds the
-- chain broken at the first of them. That place is where this migration was taken back.
DROP INDEX cases_one_open;
DROP INDEX orders_one_trial;
DROP TABLE counters;
DROP TABLE audit_seal_leaves;
DROP TABLE audit_seals;
DROP TABLE audit_heads;
CREATE TABLE audit_records_old (
  sequence BIGINT NOT NULL PRIMARY KEY,
  at TIMESTAMP NOT NULL,
  actor TEXT NOT NULL,
  organization_id TEXT,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  previous_hash TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE
);
INSERT INTO audit_records_old (sequence, at, actor, organization_id, action, subject, detail, previous_hash, hash)
  SELECT sequence, at, actor, organization_id, action, subject, detail, previous_hash, hash FROM audit_records WHERE chain = '0';
INSERT INTO audit_records_old (sequence, at, actor, organization_id, action, subject, detail, previous_hash, hash)
  SELECT (SELECT COALESCE(MAX(sequence), 0) FROM audit_records WHERE chain = '0') + ROW_NUMBER() OVER (ORDER BY at, chain, sequence),
    at, actor, organization_id, action, subject, detail, previous_hash, hash FROM audit_records WHERE chain <> '0';
DROP TABLE audit_records;
ALTER TABLE audit_records_old RENAME TO audit_records;
CREATE INDEX audit_records_subject ON audit_records (subject, sequence);
CREATE INDEX audit_records_organization ON audit_records (organization_id, sequence);
CREATE INDEX audit_records_actor ON audit_records (actor, sequence);
CREATE INDEX audit_records_action ON audit_records (action, sequence);
