DROP INDEX deployment_events_at;
DROP INDEX alarms_received;
DROP TABLE rates;
