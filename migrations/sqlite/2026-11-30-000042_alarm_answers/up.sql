-- What people have answered, beside the alarm as well: the board asks for what has no answer among millions that have one.
ALTER TABLE alarms ADD COLUMN answer TEXT NOT NULL DEFAULT 'none' CHECK (answer IN ('none', 'acknowledged', 'real', 'false', 'test'));
CREATE INDEX alarms_queue ON alarms (organization_id, answer, level, id);
CREATE INDEX alarms_answer ON alarms (organization_id, answer, id);
CREATE INDEX alarms_present ON alarms (organization_id, ended_at, id);
