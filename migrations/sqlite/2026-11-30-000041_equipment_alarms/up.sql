-- Alarms of the platform about what it watches by: a node that is lost, an app that stopped, a clock, a disk, a licence near its end, a camera.
CREATE TABLE equipment_alarms (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  kind TEXT NOT NULL CHECK (kind IN ('node-lost', 'app-lost', 'clock-wrong', 'disk-full', 'licence-ending', 'source-lost')),
  subject TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('notice', 'warning', 'critical')),
  began_at TIMESTAMP NOT NULL,
  ended_at TIMESTAMP
);
CREATE UNIQUE INDEX equipment_alarms_present ON equipment_alarms (organization_id, kind, subject) WHERE ended_at IS NULL;
CREATE INDEX equipment_alarms_level ON equipment_alarms (organization_id, level, id);
CREATE INDEX equipment_alarms_began ON equipment_alarms (organization_id, began_at);
CREATE INDEX equipment_alarms_ended ON equipment_alarms (ended_at);
