DROP INDEX nodes_seen;
