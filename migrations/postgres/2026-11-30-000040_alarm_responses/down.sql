DROP INDEX alarms_raised;
DROP INDEX alarms_point;
DROP INDEX alarms_level;
DROP TABLE alarm_acts;
DROP TABLE alarm_suppressions;
DROP TABLE alarm_responses;
