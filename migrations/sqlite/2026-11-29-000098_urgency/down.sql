DROP INDEX webhook_deliveries_log;
DROP INDEX webhook_deliveries_due;
ALTER TABLE webhook_deliveries ADD COLUMN urgent BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE webhook_deliveries SET urgent = urgency > 0;
ALTER TABLE webhook_deliveries DROP COLUMN urgency;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, urgent, due_at) WHERE state = 'waiting';
