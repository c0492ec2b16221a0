-- Cameras and other sources of nodes, as their last heartbeats told them.
CREATE TABLE node_sources (
  node_id TEXT NOT NULL REFERENCES nodes (id),
  -- The node's name of the source.
  source_id TEXT NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'connecting', 'failed')),
  code TEXT,
  -- Words with spaces between them.
  troubles TEXT NOT NULL,
  width BIGINT,
  height BIGINT,
  rate DOUBLE PRECISION NOT NULL,
  -- Names, one a line.
  apps TEXT NOT NULL,
  -- Since when state, code and troubles are as they are, and since when nobody can see anything by it.
  since TIMESTAMP NOT NULL,
  lost_since TIMESTAMP,
  PRIMARY KEY (node_id, source_id)
);
CREATE INDEX node_sources_lost ON node_sources (lost_since) WHERE lost_since IS NOT NULL;
