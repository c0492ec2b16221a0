-- Seals are signed, each over the one before it. Those that are there have no signature: the first that has one covers them.
ALTER TABLE audit_seals ADD COLUMN previous TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_seals ADD COLUMN signed_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_seals ADD COLUMN kid TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_seals ADD COLUMN signature TEXT NOT NULL DEFAULT '';

-- A program of the version before seals without a signature: nothing signed may be followed by that.
CREATE TRIGGER audit_seals_signed BEFORE INSERT ON audit_seals WHEN NEW.signature = ''
BEGIN SELECT RAISE(ABORT, 'audit_seals: a seal needs a signature'); END;

-- What the audit log holds stays as it was written. Records go where the base of their chain has passed them, and a base is a head that a
-- seal holds.
CREATE TRIGGER audit_records_kept BEFORE UPDATE ON audit_records
BEGIN SELECT RAISE(ABORT, 'audit_records: UPDATE is refused'); END;
CREATE TRIGGER audit_records_pruned BEFORE DELETE ON audit_records
WHEN OLD.sequence > COALESCE((SELECT base_sequence FROM audit_heads WHERE chain = OLD.chain), 0)
BEGIN SELECT RAISE(ABORT, 'audit_records: DELETE is refused'); END;
CREATE TRIGGER audit_heads_based BEFORE UPDATE OF base_sequence, base_hash ON audit_heads
WHEN NEW.base_sequence < OLD.base_sequence OR NOT EXISTS
  (SELECT 1 FROM audit_seal_leaves WHERE chain = NEW.chain AND sequence = NEW.base_sequence AND hash = NEW.base_hash)
BEGIN SELECT RAISE(ABORT, 'audit_heads: no seal holds this base'); END;
CREATE TRIGGER audit_heads_kept BEFORE DELETE ON audit_heads
BEGIN SELECT RAISE(ABORT, 'audit_heads: DELETE is refused'); END;
CREATE TRIGGER audit_seals_kept BEFORE UPDATE ON audit_seals
BEGIN SELECT RAISE(ABORT, 'audit_seals: UPDATE is refused'); END;
CREATE TRIGGER audit_seals_stay BEFORE DELETE ON audit_seals
BEGIN SELECT RAISE(ABORT, 'audit_seals: DELETE is refused'); END;
CREATE TRIGGER audit_seal_leaves_kept BEFORE UPDATE ON audit_seal_leaves
BEGIN SELECT RAISE(ABORT, 'audit_seal_leaves: UPDATE is refused'); END;
CREATE TRIGGER audit_seal_leaves_stay BEFORE DELETE ON audit_seal_leaves
BEGIN SELECT RAISE(ABORT, 'audit_seal_leaves: DELETE is refused'); END;
