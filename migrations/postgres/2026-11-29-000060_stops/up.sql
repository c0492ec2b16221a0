-- Why the platform has recalled a release, and when, as JSON.
ALTER TABLE releases ADD COLUMN recall TEXT;

-- Why the platform has suspended a listing, empty where it is suspended with its organisation; and the state that it goes back to.
ALTER TABLE apps ADD COLUMN suspended_reason TEXT;
ALTER TABLE apps ADD COLUMN suspended_from TEXT;

ALTER TABLE organizations ADD COLUMN suspended_at TIMESTAMP;
ALTER TABLE organizations ADD COLUMN suspended_reason TEXT;
ALTER TABLE users ADD COLUMN disabled_reason TEXT;

-- What a stop touches is counted by these.
CREATE INDEX deployments_app ON deployments (app_id);
CREATE INDEX sessions_organization ON sessions (organization_id);
CREATE INDEX api_tokens_user ON api_tokens (user_id);
