-- A chain of audit records for each organisation, the platform and each node in place of one for all. The records written before are
-- chain '0', to which nothing is added any more; their hashes stay as they are.
DROP INDEX audit_records_subject;
DROP INDEX audit_records_organization;
DROP INDEX audit_records_actor;
DROP INDEX audit_records_action;
ALTER TABLE audit_records ADD COLUMN chain TEXT NOT NULL DEFAULT '0';
ALTER TABLE audit_records ALTER COLUMN chain DROP DEFAULT;
ALTER TABLE audit_records DROP CONSTRAINT audit_records_pkey;
ALTER TABLE audit_records DROP CONSTRAINT audit_records_hash_key;
ALTER TABLE audit_records ADD PRIMARY KEY (chain, sequence);
CREATE INDEX audit_records_at ON audit_records (at, chain, sequence);
CREATE INDEX audit_records_subject ON audit_records (subject, at);
CREATE INDEX audit_records_organization ON audit_records (organization_id, at);
CREATE INDEX audit_records_actor ON audit_records (actor, at);
CREATE INDEX audit_records_action ON audit_records (action, at);

-- The newest record of each chain: what the next one follows, and what the seals hold.
CREATE TABLE audit_heads (
  chain TEXT NOT NULL PRIMARY KEY,
  sequence BIGINT NOT NULL,
  hash TEXT NOT NULL
);
INSERT INTO audit_heads (chain, sequence, hash)
  SELECT chain, sequence, hash FROM audit_records WHERE sequence = (SELECT MAX(sequence) FROM audit_records);

-- Seals: each holds the heads that had moved since the one before.
CREATE TABLE audit_seals (
  number BIGINT NOT NULL PRIMARY KEY,
  at TIMESTAMP NOT NULL,
  root TEXT NOT NULL
);
CREATE TABLE audit_seal_leaves (
  chain TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  hash TEXT NOT NULL,
  number BIGINT NOT NULL REFERENCES audit_seals (number),
  PRIMARY KEY (chain, sequence)
);
CREATE INDEX audit_seal_leaves_number ON audit_seal_leaves (number, chain);

-- What the one lock of the audit log held together before, held by a constraint now (docs/RACES.md).
CREATE TABLE counters (
  name TEXT NOT NULL PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO counters (name, value)
  SELECT substr(number, 1, 12), MAX(CAST(substr(number, 13) AS BIGINT)) FROM orders GROUP BY substr(number, 1, 12);
CREATE UNIQUE INDEX orders_one_trial ON orders (organization_id, app_id) WHERE plan_kind = 'trial' AND state <> 'cancelled';
CREATE UNIQUE INDEX cases_one_open ON cases (release_id) WHERE state = 'open';
