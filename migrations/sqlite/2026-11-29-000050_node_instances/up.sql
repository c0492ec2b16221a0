-- The last two runs of agents that reported under the identity of a node, and when they last took turns: two machines share it.
ALTER TABLE nodes ADD COLUMN instance TEXT;
ALTER TABLE nodes ADD COLUMN instance_before TEXT;
ALTER TABLE nodes ADD COLUMN doubled_at TIMESTAMP;
