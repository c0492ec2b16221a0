-- Token buckets, each by the moment at which it is full again.
CREATE TABLE rates (
  subject TEXT NOT NULL PRIMARY KEY,
  full_at TIMESTAMP NOT NULL
);
CREATE INDEX rates_full ON rates (full_at);
-- What is kept for a time is found by its age.
CREATE INDEX alarms_received ON alarms (received_at);
CREATE INDEX deployment_events_at ON deployment_events (at);
