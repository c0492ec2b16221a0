DROP TRIGGER audit_seal_leaves_once;
DROP TRIGGER audit_heads_once;
DROP TRIGGER audit_records_once;
