-- A state that never outlived its transaction, and that no code knows any more.
UPDATE releases SET state = 'in_review' WHERE state = 'approved';

-- Who may see a manifest and whether it must stay, as the releases say; the registry asks no other table for it.
ALTER TABLE manifests ADD COLUMN visibility TEXT NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'kept', 'public'));
UPDATE manifests SET visibility = 'public' WHERE EXISTS (
  SELECT 1 FROM releases
    JOIN apps ON apps.id = releases.app_id
    JOIN organizations ON organizations.id = apps.organization_id
    JOIN repositories ON repositories.name = organizations.slug || '/' || apps.slug
  WHERE repositories.id = manifests.repository_id AND releases.digest = manifests.digest
    AND releases.state IN ('published', 'deprecated'));
UPDATE manifests SET visibility = 'kept' WHERE visibility = 'private' AND EXISTS (
  SELECT 1 FROM releases
    JOIN apps ON apps.id = releases.app_id
    JOIN organizations ON organizations.id = apps.organization_id
    JOIN repositories ON repositories.name = organizations.slug || '/' || apps.slug
  WHERE repositories.id = manifests.repository_id AND releases.digest = manifests.digest
    AND releases.state IN ('checking', 'ready', 'in_review', 'changes_requested', 'recalled'));

-- Blobs that no repository links and that somebody still needs: hidden test sets.
CREATE TABLE blob_pins (
  digest TEXT NOT NULL REFERENCES blobs (digest),
  holder TEXT NOT NULL,
  PRIMARY KEY (digest, holder)
);
INSERT INTO blob_pins (digest, holder) SELECT digest, id FROM evaluation_sets;

-- Never written.
ALTER TABLE throttles DROP COLUMN blocked_until;
