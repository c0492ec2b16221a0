-- Who wants to be told of the first app of a scenario, and in which language. Who was told follows no more.
CREATE TABLE scenario_follows (
  user_id TEXT NOT NULL REFERENCES users (id),
  scenario TEXT NOT NULL REFERENCES scenarios (slug),
  language TEXT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  PRIMARY KEY (user_id, scenario)
);
CREATE INDEX scenario_follows_scenario ON scenario_follows (scenario, user_id);
