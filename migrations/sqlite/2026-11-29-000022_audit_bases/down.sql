ALTER TABLE audit_heads DROP COLUMN base_hash;
ALTER TABLE audit_heads DROP COLUMN base_sequence;
