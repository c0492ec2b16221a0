-- Seals are signed, each over the one before it. Those that are there have no signature: the first that has one covers them.
ALTER TABLE audit_seals ADD COLUMN previous TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_seals ADD COLUMN signed_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_seals ADD COLUMN kid TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_seals ADD COLUMN signature TEXT NOT NULL DEFAULT '';

CREATE FUNCTION audit_refused() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%: % is refused', TG_TABLE_NAME, TG_OP;
END $$;
CREATE FUNCTION audit_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.sequence > COALESCE((SELECT base_sequence FROM audit_heads WHERE chain = OLD.chain), 0) THEN
    RAISE EXCEPTION 'audit_records: DELETE is refused';
  END IF;
  RETURN OLD;
END $$;
CREATE FUNCTION audit_based() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.base_sequence < OLD.base_sequence OR NOT EXISTS
    (SELECT 1 FROM audit_seal_leaves WHERE chain = NEW.chain AND sequence = NEW.base_sequence AND hash = NEW.base_hash) THEN
    RAISE EXCEPTION 'audit_heads: no seal holds this base';
  END IF;
  RETURN NEW;
END $$;

-- A program of the version before seals without a signature: nothing signed may be followed by that.
CREATE TRIGGER audit_seals_signed BEFORE INSERT ON audit_seals FOR EACH ROW WHEN (NEW.signature = '') EXECUTE FUNCTION audit_refused();

-- What the audit log holds stays as it was written. Records go where the base of their chain has passed them, and a base is a head that a
-- seal holds.
CREATE TRIGGER audit_records_kept BEFORE UPDATE OR TRUNCATE ON audit_records FOR EACH STATEMENT EXECUTE FUNCTION audit_refused();
CREATE TRIGGER audit_records_pruned BEFORE DELETE ON audit_records FOR EACH ROW EXECUTE FUNCTION audit_pruned();
CREATE TRIGGER audit_heads_based BEFORE UPDATE OF base_sequence, base_hash ON audit_heads FOR EACH ROW EXECUTE FUNCTION audit_based();
CREATE TRIGGER audit_heads_kept BEFORE DELETE OR TRUNCATE ON audit_heads FOR EACH STATEMENT EXECUTE FUNCTION audit_refused();
CREATE TRIGGER audit_seals_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals FOR EACH STATEMENT EXECUTE FUNCTION audit_refused();
CREATE TRIGGER audit_seal_leaves_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seal_leaves
  FOR EACH STATEMENT EXECUTE FUNCTION audit_refused();
