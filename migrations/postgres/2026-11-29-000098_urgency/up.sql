-- How urgent a message is, in the place of whether: a critical alarm goes before all others. What is due is found by it and the webhook; the
-- log of a webhook, and what it was told of late, by the webhook alone.
DROP INDEX webhook_deliveries_due;
ALTER TABLE webhook_deliveries ADD COLUMN urgency BIGINT NOT NULL DEFAULT 0;
UPDATE webhook_deliveries SET urgency = CASE WHEN body LIKE '%"level":"critical"%' THEN 2 ELSE 1 END WHERE urgent;
ALTER TABLE webhook_deliveries DROP COLUMN urgent;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (urgency, webhook_id, due_at, id) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_log ON webhook_deliveries (webhook_id, id);
