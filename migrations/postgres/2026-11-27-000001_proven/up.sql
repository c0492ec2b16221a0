-- That a release has worked on a node, once and for all: samples count since the agent's start and are forgotten after a week.
CREATE TABLE proofs (
  deployment_id TEXT NOT NULL REFERENCES deployments (id),
  release_id TEXT NOT NULL REFERENCES releases (id),
  proven_at TIMESTAMP NOT NULL,
  PRIMARY KEY (deployment_id, release_id)
);
-- Of what runs now the samples since its last change still say so.
INSERT INTO proofs
  SELECT d.id, d.release_id, MIN(s.at) FROM deployments d JOIN app_samples s ON s.deployment_id = d.id
  WHERE d.state = 'installed' AND s.inferences > 0 AND s.at >= d.updated_at GROUP BY d.id, d.release_id;
-- What a change of settings changed, for the timeline.
ALTER TABLE deployment_events ADD COLUMN note TEXT;
