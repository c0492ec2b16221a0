DROP INDEX api_tokens_user;
DROP INDEX sessions_organization;
DROP INDEX deployments_app;
ALTER TABLE users DROP COLUMN disabled_reason;
ALTER TABLE organizations DROP COLUMN suspended_reason;
ALTER TABLE organizations DROP COLUMN suspended_at;
ALTER TABLE apps DROP COLUMN suspended_from;
ALTER TABLE apps DROP COLUMN suspended_reason;
ALTER TABLE releases DROP COLUMN recall;
