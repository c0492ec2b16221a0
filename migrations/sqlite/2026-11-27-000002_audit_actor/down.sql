DROP INDEX audit_records_action;
DROP INDEX audit_records_actor;
