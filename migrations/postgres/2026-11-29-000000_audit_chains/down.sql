-- Every record stays: those of the new chains follow the old chain in order of time and keep their hashes, so the version before finds the
-- chain broken at the first of them. That place is where this migration was taken back.
DROP INDEX cases_one_open;
DROP INDEX orders_one_trial;
DROP TABLE counters;
DROP TABLE audit_seal_leaves;
DROP TABLE audit_seals;
DROP TABLE audit_heads;
DROP INDEX audit_records_at;
DROP INDEX audit_records_subject;
DROP INDEX audit_records_organization;
DROP INDEX audit_records_actor;
DROP INDEX audit_records_action;
ALTER TABLE audit_records DROP CONSTRAINT audit_records_pkey;
UPDATE audit_records SET sequence = placed.sequence FROM
  (SELECT chain, sequence AS within, (SELECT COALESCE(MAX(sequence), 0) FROM audit_records WHERE chain = '0')
     + ROW_NUMBER() OVER (ORDER BY at, chain, sequence) AS sequence FROM audit_records WHERE chain <> '0') AS placed
  WHERE audit_records.chain = placed.chain AND audit_records.sequence = placed.within;
ALTER TABLE audit_records DROP COLUMN chain;
ALTER TABLE audit_records ADD PRIMARY KEY (sequence);
ALTER TABLE audit_records ADD CONSTRAINT audit_records_hash_key UNIQUE (hash);
CREATE INDEX audit_records_subject ON audit_records (subject, sequence);
CREATE INDEX audit_records_organization ON audit_records (organization_id, sequence);
CREATE INDEX audit_records_actor ON audit_records (actor, sequence);
CREATE INDEX audit_records_action ON audit_records (action, sequence);
