//! Queries of signing keys.

use diesel::prelude::*;

use super::model::{MAX_EVER, VendorKey};
use crate::base::auth::OrgKind;
use crate::base::db::schema::{organizations, vendor_keys};
use crate::base::db::{Conn, Timestamp};

/// A vendor's keys, also revoked ones, newest first.
pub fn of_vendor(conn: &mut Conn, organization_id: &str) -> QueryResult<Vec<VendorKey>> {
    vendor_keys::table
        .filter(vendor_keys::organization_id.eq(organization_id))
        .order(vendor_keys::id.desc())
        .limit(i64::try_from(MAX_EVER).unwrap_or(i64::MAX))
        .select(VendorKey::as_select())
        .load(conn)
}

pub fn insert(conn: &mut Conn, key: &VendorKey) -> QueryResult<usize> {
    diesel::insert_into(vendor_keys::table).values(key).execute(conn)
}

/// Revokes a vendor's key that is in use; gives the rows that changed.
pub fn revoke(conn: &mut Conn, id: &str, organization_id: &str, now: Timestamp) -> QueryResult<usize> {
    let open = vendor_keys::organization_id.eq(organization_id).and(vendor_keys::revoked_at.is_null());
    diesel::update(vendor_keys::table.find(id).filter(open)).set(vendor_keys::revoked_at.eq(now)).execute(conn)
}

/// Key id and name of a vendor's key.
pub fn named(conn: &mut Conn, id: &str) -> QueryResult<(String, String)> {
    vendor_keys::table.find(id).select((vendor_keys::kid, vendor_keys::name)).first(conn)
}

/// Id of the vendor of a slug.
pub fn vendor_id(conn: &mut Conn, slug: &str) -> QueryResult<Option<String>> {
    organizations::table
        .filter(organizations::slug.eq(slug).and(organizations::kind.eq(OrgKind::Vendor)))
        .select(organizations::id)
        .first(conn)
        .optional()
}
