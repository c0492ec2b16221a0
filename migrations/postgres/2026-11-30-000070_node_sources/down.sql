DROP TABLE node_sources;
