//! Use cases of signing keys.

use app_package::keys::{self, KeySet};
use app_package::public_key;
use serde_json::json;

use super::model::{self, MAX_ACTIVE, MAX_EVER, VendorKey};
use super::store;
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::Conn;
use crate::base::db::dialect::{self, Row};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result, exactly_one};
use crate::base::ids;

/// The vendor's keys, newest first, also revoked ones.
pub async fn list(app: &App, actor: &Actor) -> Result<Vec<VendorKey>> {
    let vendor = policy::require(actor, Action::ViewOwnApps)?.organization_id.clone();
    app.db.read(move |conn| keys_in(conn, &vendor)).await
}

/// A vendor's keys, in the caller's transaction.
pub fn keys_in(conn: &mut Conn, organization_id: &str) -> Result<Vec<VendorKey>> {
    Ok(store::of_vendor(conn, organization_id)?)
}

/// Registers a public key; gives its key id.
///
/// # Errors
/// Wrong fields: `name`; `public_key` (`key-too-long`, `key-private`, `key-other-kind`, `key-weak`, `key-malformed`, `key-taken`,
/// `key-of-platform`, `too-many-keys`).
pub async fn add(app: &App, actor: &Actor, name: &str, text: &str) -> Result<String> {
    let person = policy::require(actor, Action::ManageKeys)?.clone();
    let mut faults = Faults::default();
    let name = faults.text("name", name, 1, 60);
    let parsed = public_key::parse(text);
    match &parsed {
        Err(e) => faults.add_with("public_key", e.code(), "max", public_key::MAX_BYTES),
        // A key of the platform cannot be a vendor's; pasting it here is a mistake.
        Ok(key) if app.keys.get().root.keys.contains_key(&keys::kid_of(key)) => faults.add("public_key", "key-of-platform"),
        Ok(_) => {}
    }
    faults.check()?;
    let Ok(key) = parsed else { return Err(Error::field("public_key", "key-malformed")) };
    let now = app.clock.now();
    let row = VendorKey {
        id: ids::new("key"),
        organization_id: person.organization_id,
        name,
        kid: keys::kid_of(&key),
        public_key: model::encode(&key),
        created_by: person.user_id,
        created_at: now,
        revoked_at: None,
    };
    let kid = row.kid.clone();
    audit::change(app, actor, move |c| {
        // Hold the organisation until the end: of two registrations at once the second counts the first.
        dialect::hold(c, Row::Organization(&row.organization_id))?;
        let known = store::of_vendor(c, &row.organization_id)?;
        if known.iter().any(|key| key.kid == row.kid) {
            return Err(Error::field("public_key", "key-taken"));
        }
        let active = known.iter().filter(|key| key.revoked_at.is_none()).count();
        let mut faults = Faults::default();
        for (n, max, code) in [(active, MAX_ACTIVE, "too-many-keys"), (known.len(), MAX_EVER, "too-many-keys-ever")] {
            if n >= max {
                faults.add_with("public_key", code, "max", max);
            }
        }
        faults.check()?;
        store::insert(c, &row).or_conflict("key-taken")?;
        c.audit("vendor-key.added", &row.id, &json!({"name": row.name, "kid": row.kid}));
        c.clear_pages();
        Ok(())
    })
    .await?;
    Ok(kid)
}

/// Takes a key out of use, for good: from now on its signatures count as a stranger's.
///
/// # Errors
/// `key-over`: revoked already, or not the vendor's.
pub async fn revoke(app: &App, actor: &Actor, id: String) -> Result<()> {
    let vendor = policy::require(actor, Action::ManageKeys)?.organization_id.clone();
    audit::change(app, actor, move |c| {
        c.uncounted();
        let now = c.now;
        exactly_one(store::revoke(c, &id, &vendor, now)?, "key-over")?;
        let (kid, name) = store::named(c, &id)?;
        c.audit("vendor-key.revoked", &id, &json!({"name": name, "kid": kid}));
        c.clear_pages();
        Ok(())
    })
    .await
}

/// The keys in use of a vendor, for everyone.
///
/// # Errors
/// `organization`: there is no such vendor.
pub async fn public_set(app: &App, slug: String) -> Result<KeySet> {
    let keys = app
        .db
        .read(move |conn| {
            let vendor = store::vendor_id(conn, &slug)?.ok_or_else(|| Error::not_found("organization"))?;
            keys_in(conn, &vendor)
        })
        .await?;
    Ok(model::active_set(&keys))
}
