-- Each replica looks each two seconds for nodes that have fallen silent.
CREATE INDEX nodes_seen ON nodes (seen_at);
