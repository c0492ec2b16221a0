DROP INDEX alarms_present;
DROP INDEX alarms_answer;
DROP INDEX alarms_queue;
ALTER TABLE alarms DROP COLUMN answer;
