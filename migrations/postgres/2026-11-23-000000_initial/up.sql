-- Ids are UUIDv7 text with a kind prefix, times are UTC, money is fen, sizes are bytes. Enums are words checked here and in Rust.

-- account
CREATE TABLE organizations (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('vendor', 'operator', 'platform')),
  slug TEXT NOT NULL UNIQUE,
  name_zh TEXT NOT NULL,
  name_en TEXT NOT NULL,
  created_at TIMESTAMP NOT NULL
);
CREATE TABLE users (
  id TEXT NOT NULL PRIMARY KEY,
  email TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  password_hash TEXT NOT NULL,
  disabled_at TIMESTAMP,
  created_at TIMESTAMP NOT NULL
);
CREATE TABLE memberships (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  user_id TEXT NOT NULL REFERENCES users (id),
  role TEXT NOT NULL CHECK (role IN ('owner', 'member', 'approver', 'deployer', 'moderator', 'finance', 'auditor', 'administrator')),
  created_at TIMESTAMP NOT NULL,
  PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);
CREATE TABLE invitations (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  email TEXT NOT NULL,
  role TEXT NOT NULL,
  token_hash TEXT NOT NULL UNIQUE,
  invited_by TEXT NOT NULL REFERENCES users (id),
  created_at TIMESTAMP NOT NULL,
  expires_at TIMESTAMP NOT NULL,
  accepted_at TIMESTAMP,
  revoked_at TIMESTAMP
);
CREATE INDEX invitations_organization ON invitations (organization_id, id);
CREATE TABLE sessions (
  token_hash TEXT NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  csrf_token TEXT NOT NULL,
  address TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  seen_at TIMESTAMP NOT NULL,
  expires_at TIMESTAMP NOT NULL,
  revoked_at TIMESTAMP
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE TABLE api_tokens (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  user_id TEXT NOT NULL REFERENCES users (id),
  name TEXT NOT NULL,
  token_hash TEXT NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  expires_at TIMESTAMP NOT NULL,
  used_at TIMESTAMP,
  revoked_at TIMESTAMP
);
CREATE INDEX api_tokens_organization ON api_tokens (organization_id, id);
CREATE TABLE throttles (
  subject TEXT NOT NULL PRIMARY KEY,
  failures BIGINT NOT NULL,
  window_started_at TIMESTAMP NOT NULL,
  blocked_until TIMESTAMP
);

-- catalog
CREATE TABLE specialties (
  slug TEXT NOT NULL PRIMARY KEY,
  position BIGINT NOT NULL UNIQUE,
  name_zh TEXT NOT NULL,
  name_en TEXT NOT NULL
);
CREATE TABLE scenarios (
  slug TEXT NOT NULL PRIMARY KEY,
  specialty TEXT NOT NULL REFERENCES specialties (slug),
  position BIGINT NOT NULL,
  name_zh TEXT NOT NULL,
  name_en TEXT NOT NULL
);
CREATE TABLE apps (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  slug TEXT NOT NULL,
  title_zh TEXT NOT NULL,
  title_en TEXT NOT NULL,
  summary_zh TEXT NOT NULL,
  summary_en TEXT NOT NULL,
  specialty TEXT NOT NULL REFERENCES specialties (slug),
  scenario TEXT NOT NULL REFERENCES scenarios (slug),
  input TEXT NOT NULL,
  safety BOOLEAN NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('draft', 'in_review', 'listed', 'hidden', 'suspended', 'withdrawn')),
  release_id TEXT,
  cover_digest TEXT,
  deployments BIGINT NOT NULL,
  listed_at TIMESTAMP,
  created_at TIMESTAMP NOT NULL,
  updated_at TIMESTAMP NOT NULL,
  UNIQUE (organization_id, slug)
);
CREATE INDEX apps_state ON apps (state, listed_at);
CREATE INDEX apps_updated ON apps (updated_at);
CREATE TABLE plans (
  id TEXT NOT NULL PRIMARY KEY,
  app_id TEXT NOT NULL REFERENCES apps (id),
  kind TEXT NOT NULL CHECK (kind IN ('subscription', 'perpetual', 'trial')),
  price_fen BIGINT NOT NULL CHECK (price_fen >= 0),
  trial_days BIGINT NOT NULL,
  trial_nodes BIGINT NOT NULL,
  active BOOLEAN NOT NULL,
  created_at TIMESTAMP NOT NULL
);
CREATE INDEX plans_app ON plans (app_id);

-- registry
CREATE TABLE repositories (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  created_at TIMESTAMP NOT NULL
);
CREATE TABLE blobs (
  digest TEXT NOT NULL PRIMARY KEY,
  size_bytes BIGINT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  touched_at TIMESTAMP NOT NULL
);
CREATE TABLE repository_blobs (
  repository_id TEXT NOT NULL REFERENCES repositories (id),
  digest TEXT NOT NULL REFERENCES blobs (digest),
  created_at TIMESTAMP NOT NULL,
  PRIMARY KEY (repository_id, digest)
);
CREATE TABLE manifests (
  repository_id TEXT NOT NULL REFERENCES repositories (id),
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  artifact_type TEXT,
  subject TEXT,
  annotations TEXT,
  content BYTEA NOT NULL,
  created_at TIMESTAMP NOT NULL,
  PRIMARY KEY (repository_id, digest)
);
CREATE INDEX manifests_subject ON manifests (repository_id, subject);
CREATE TABLE tags (
  repository_id TEXT NOT NULL REFERENCES repositories (id),
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  updated_at TIMESTAMP NOT NULL,
  PRIMARY KEY (repository_id, name)
);
CREATE TABLE uploads (
  id TEXT NOT NULL PRIMARY KEY,
  repository_id TEXT NOT NULL REFERENCES repositories (id),
  user_id TEXT NOT NULL REFERENCES users (id),
  offset_bytes BIGINT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  expires_at TIMESTAMP NOT NULL
);
CREATE INDEX uploads_expiry ON uploads (expires_at);

-- release
CREATE TABLE releases (
  id TEXT NOT NULL PRIMARY KEY,
  app_id TEXT NOT NULL REFERENCES apps (id),
  version TEXT NOT NULL,
  digest TEXT NOT NULL,
  manifest TEXT NOT NULL,
  size_bytes BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('draft', 'checking', 'failed', 'ready', 'in_review', 'changes_requested', 'rejected', 'approved', 'published', 'deprecated', 'recalled')),
  created_by TEXT NOT NULL REFERENCES users (id),
  created_at TIMESTAMP NOT NULL,
  updated_at TIMESTAMP NOT NULL,
  published_at TIMESTAMP,
  UNIQUE (app_id, version)
);
CREATE INDEX releases_digest ON releases (digest);
CREATE TABLE check_reports (
  id TEXT NOT NULL PRIMARY KEY,
  release_id TEXT NOT NULL REFERENCES releases (id),
  digest TEXT NOT NULL,
  passed BOOLEAN NOT NULL,
  report TEXT NOT NULL,
  created_at TIMESTAMP NOT NULL
);
CREATE INDEX check_reports_release ON check_reports (release_id, id);

-- moderation
CREATE TABLE cases (
  id TEXT NOT NULL PRIMARY KEY,
  release_id TEXT NOT NULL REFERENCES releases (id),
  app_id TEXT NOT NULL REFERENCES apps (id),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  state TEXT NOT NULL CHECK (state IN ('open', 'approved', 'changes_requested', 'rejected')),
  reason TEXT NOT NULL,
  opened_by TEXT NOT NULL REFERENCES users (id),
  opened_at TIMESTAMP NOT NULL,
  decided_by TEXT REFERENCES users (id),
  decided_at TIMESTAMP
);
CREATE INDEX cases_state ON cases (state, opened_at);
CREATE INDEX cases_release ON cases (release_id);

-- trade
CREATE TABLE orders (
  id TEXT NOT NULL PRIMARY KEY,
  number TEXT NOT NULL UNIQUE,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  vendor_id TEXT NOT NULL REFERENCES organizations (id),
  app_id TEXT NOT NULL REFERENCES apps (id),
  plan_id TEXT NOT NULL REFERENCES plans (id),
  plan_kind TEXT NOT NULL,
  unit_price_fen BIGINT NOT NULL,
  trial_days BIGINT NOT NULL,
  nodes BIGINT NOT NULL CHECK (nodes > 0),
  amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
  reference TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('placed', 'awaiting_approval', 'awaiting_payment', 'paid', 'delivered', 'accepted', 'settled', 'cancelled', 'refund_requested', 'refunded', 'disputed')),
  placed_by TEXT NOT NULL REFERENCES users (id),
  placed_at TIMESTAMP NOT NULL,
  updated_at TIMESTAMP NOT NULL
);
CREATE INDEX orders_organization ON orders (organization_id, id);
CREATE INDEX orders_vendor ON orders (vendor_id, id);
CREATE INDEX orders_state ON orders (state, id);
CREATE TABLE payments (
  id TEXT NOT NULL PRIMARY KEY,
  order_id TEXT NOT NULL REFERENCES orders (id),
  amount_fen BIGINT NOT NULL,
  bank_serial TEXT NOT NULL UNIQUE,
  payer TEXT NOT NULL,
  matched BOOLEAN NOT NULL,
  confirmed_by TEXT NOT NULL REFERENCES users (id),
  confirmed_at TIMESTAMP NOT NULL
);
CREATE INDEX payments_order ON payments (order_id);

-- license
CREATE TABLE licenses (
  id TEXT NOT NULL PRIMARY KEY,
  order_id TEXT NOT NULL UNIQUE REFERENCES orders (id),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  vendor_id TEXT NOT NULL REFERENCES organizations (id),
  app_id TEXT NOT NULL REFERENCES apps (id),
  plan_kind TEXT NOT NULL,
  versions TEXT NOT NULL,
  node_limit BIGINT NOT NULL,
  nodes_active BIGINT NOT NULL,
  starts_at TIMESTAMP NOT NULL,
  ends_at TIMESTAMP,
  grace_days BIGINT NOT NULL,
  enforcement TEXT NOT NULL CHECK (enforcement IN ('advisory', 'block')),
  safety BOOLEAN NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')),
  created_at TIMESTAMP NOT NULL,
  updated_at TIMESTAMP NOT NULL,
  CHECK (nodes_active >= 0 AND nodes_active <= node_limit)
);
CREATE INDEX licenses_organization ON licenses (organization_id, id);
CREATE INDEX licenses_app ON licenses (app_id, organization_id);

-- fleet
CREATE TABLE sites (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  name TEXT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  UNIQUE (organization_id, name)
);
CREATE TABLE nodes (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  site_id TEXT NOT NULL REFERENCES sites (id),
  name TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'enrolled', 'removed')),
  code_hash TEXT UNIQUE,
  code_expires_at TIMESTAMP,
  code_used_at TIMESTAMP,
  certificate_serial TEXT,
  certificate_previous_serial TEXT,
  certificate_expires_at TIMESTAMP,
  capabilities TEXT,
  agent_version TEXT,
  seen_at TIMESTAMP,
  manifest_version BIGINT NOT NULL,
  manifest_digest TEXT,
  last_sequence BIGINT NOT NULL,
  created_at TIMESTAMP NOT NULL,
  UNIQUE (site_id, name)
);
CREATE INDEX nodes_organization ON nodes (organization_id, id);
CREATE TABLE activations (
  id TEXT NOT NULL PRIMARY KEY,
  license_id TEXT NOT NULL REFERENCES licenses (id),
  node_id TEXT NOT NULL REFERENCES nodes (id),
  activated_by TEXT NOT NULL REFERENCES users (id),
  activated_at TIMESTAMP NOT NULL,
  UNIQUE (license_id, node_id)
);
CREATE INDEX activations_node ON activations (node_id);
CREATE TABLE node_documents (
  node_id TEXT NOT NULL REFERENCES nodes (id),
  digest TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('manifest', 'deployment', 'bundle')),
  content BYTEA NOT NULL,
  created_at TIMESTAMP NOT NULL,
  PRIMARY KEY (node_id, digest)
);
CREATE TABLE deployments (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  node_id TEXT NOT NULL REFERENCES nodes (id),
  app_id TEXT NOT NULL REFERENCES apps (id),
  release_id TEXT NOT NULL REFERENCES releases (id),
  license_id TEXT NOT NULL REFERENCES licenses (id),
  parameters TEXT NOT NULL,
  wanted BOOLEAN NOT NULL,
  digest TEXT NOT NULL,
  target_version BIGINT NOT NULL,
  adopted_version BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'installing', 'installed', 'failed', 'removing', 'removed')),
  error TEXT,
  created_by TEXT NOT NULL REFERENCES users (id),
  created_at TIMESTAMP NOT NULL,
  updated_at TIMESTAMP NOT NULL,
  UNIQUE (node_id, app_id)
);
CREATE INDEX deployments_organization ON deployments (organization_id, id);
CREATE INDEX deployments_license ON deployments (license_id);
CREATE INDEX deployments_release ON deployments (release_id);
CREATE TABLE deployment_events (
  id TEXT NOT NULL PRIMARY KEY,
  deployment_id TEXT NOT NULL REFERENCES deployments (id),
  state TEXT NOT NULL,
  version TEXT NOT NULL,
  error TEXT,
  at TIMESTAMP NOT NULL
);
CREATE INDEX deployment_events_deployment ON deployment_events (deployment_id, id);

-- telemetry
CREATE TABLE node_samples (
  node_id TEXT NOT NULL REFERENCES nodes (id),
  at TIMESTAMP NOT NULL,
  cpu_percent DOUBLE PRECISION NOT NULL,
  memory_used_bytes BIGINT NOT NULL,
  memory_total_bytes BIGINT NOT NULL,
  PRIMARY KEY (node_id, at)
);
CREATE TABLE app_samples (
  deployment_id TEXT NOT NULL REFERENCES deployments (id),
  at TIMESTAMP NOT NULL,
  inferences BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  p50_ms DOUBLE PRECISION NOT NULL,
  p95_ms DOUBLE PRECISION NOT NULL,
  memory_bytes BIGINT NOT NULL,
  restarts BIGINT NOT NULL,
  PRIMARY KEY (deployment_id, at)
);
CREATE TABLE alarms (
  id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  node_id TEXT NOT NULL REFERENCES nodes (id),
  deployment_id TEXT NOT NULL REFERENCES deployments (id),
  release_digest TEXT NOT NULL,
  rule TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('notice', 'warning', 'critical')),
  text_zh TEXT NOT NULL,
  text_en TEXT NOT NULL,
  result TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  raised_at TIMESTAMP NOT NULL,
  received_at TIMESTAMP NOT NULL,
  UNIQUE (node_id, sequence)
);
CREATE INDEX alarms_organization ON alarms (organization_id, id);

-- audit: append-only; hash = SHA-256 over the previous hash and the record's canonical JSON
CREATE TABLE audit_records (
  sequence BIGINT NOT NULL PRIMARY KEY,
  at TIMESTAMP NOT NULL,
  actor TEXT NOT NULL,
  organization_id TEXT,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL,
  previous_hash TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE
);
CREATE INDEX audit_records_subject ON audit_records (subject, sequence);
CREATE INDEX audit_records_organization ON audit_records (organization_id, sequence);

-- jobs
CREATE TABLE jobs (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'failed')),
  attempts BIGINT NOT NULL,
  run_at TIMESTAMP NOT NULL,
  lease_until TIMESTAMP,
  last_error TEXT,
  created_at TIMESTAMP NOT NULL
);
CREATE INDEX jobs_due ON jobs (state, run_at);
