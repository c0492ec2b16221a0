DROP INDEX jobs_waiting;
DROP INDEX jobs_once;
