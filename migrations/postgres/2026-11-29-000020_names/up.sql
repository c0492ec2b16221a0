-- Names as readers tell them apart: short names and names of organisations, without what only programs see. Filled at the start of the
-- server, for SQL cannot fold Unicode.
CREATE TABLE organization_names (
  look TEXT NOT NULL PRIMARY KEY,
  gist TEXT NOT NULL,
  organization_id TEXT NOT NULL REFERENCES organizations (id)
);
CREATE INDEX organization_names_gist ON organization_names (gist);
CREATE INDEX organization_names_organization ON organization_names (organization_id);

-- What the name of an organisation looks like, where it looks like another's.
ALTER TABLE organizations ADD COLUMN resembles TEXT;
