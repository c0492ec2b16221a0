DROP TABLE equipment_alarms;
