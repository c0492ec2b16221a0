-- INSERT OR REPLACE takes a row away without its DELETE trigger (recursive_triggers is off): what the audit log holds is not replaced either. A
-- seal that was replaced shows by its signature, and its writer asks for ON CONFLICT DO NOTHING, which a trigger would not let through.
CREATE TRIGGER audit_records_once BEFORE INSERT ON audit_records
WHEN EXISTS (SELECT 1 FROM audit_records WHERE chain = NEW.chain AND sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'audit_records: REPLACE is refused'); END;
CREATE TRIGGER audit_heads_once BEFORE INSERT ON audit_heads
WHEN EXISTS (SELECT 1 FROM audit_heads WHERE chain = NEW.chain)
BEGIN SELECT RAISE(ABORT, 'audit_heads: REPLACE is refused'); END;
CREATE TRIGGER audit_seal_leaves_once BEFORE INSERT ON audit_seal_leaves
WHEN EXISTS (SELECT 1 FROM audit_seal_leaves WHERE chain = NEW.chain AND sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'audit_seal_leaves: REPLACE is refused'); END;
