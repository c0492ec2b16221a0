//! Counts of what stops touch. Each is one query on an index.

use diesel::dsl::{count, count_star};
use diesel::prelude::*;

use super::model::Reach;
use crate::base::auth::{OrgKind, Role};
use crate::base::db::schema::{api_tokens, apps, deployments, licenses, memberships, organizations, releases, sessions, users};
use crate::base::db::{Conn, Timestamp};
use crate::base::i18n::Names;
use crate::catalog::model::ListingState;
use crate::license::model::LicenseState;

/// Deployments, nodes and mines.
type Running = (i64, i64, i64);

/// What a release's recall touches. The licences are those by which it is deployed.
pub fn of_release(conn: &mut Conn, release_id: &str) -> QueryResult<Reach> {
    let (deployments, nodes, mines, licenses) = deployments::table
        .filter(deployments::release_id.eq(release_id).and(deployments::wanted.eq(true)))
        .select((
            count_star(),
            count(deployments::node_id).aggregate_distinct(),
            count(deployments::organization_id).aggregate_distinct(),
            count(deployments::license_id).aggregate_distinct(),
        ))
        .first::<(i64, i64, i64, i64)>(conn)?;
    Ok(Reach { licenses, deployments, nodes, mines, ..Reach::default() })
}

/// `vendor/app` and version of a release.
pub fn address_of(conn: &mut Conn, release_id: &str) -> QueryResult<(String, String)> {
    let (vendor, app, version): (String, String, String) = releases::table
        .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(releases::id.eq(release_id))
        .select((organizations::slug, apps::slug, releases::version))
        .first(conn)?;
    Ok((format!("{vendor}/{app}"), version))
}

/// The next mines for which a release is wanted, each with the number of its deployments.
pub fn mines_after(conn: &mut Conn, release_id: &str, after: &str, limit: i64) -> QueryResult<Vec<(String, i64)>> {
    deployments::table
        .filter(deployments::release_id.eq(release_id).and(deployments::wanted.eq(true)).and(deployments::organization_id.gt(after)))
        .group_by(deployments::organization_id)
        .order(deployments::organization_id)
        .limit(limit)
        .select((deployments::organization_id, count_star()))
        .load(conn)
}

/// Id and address of the people of a mine who may sign in: first those who deploy, then those who have been there longest.
pub fn people_of(conn: &mut Conn, organization_id: &str, limit: i64) -> QueryResult<Vec<(String, String)>> {
    memberships::table
        .inner_join(users::table.on(users::id.eq(memberships::user_id)))
        .filter(memberships::organization_id.eq(organization_id).and(users::disabled_at.is_null()))
        .order((memberships::role.eq_any([Role::Owner, Role::Deployer]).desc(), memberships::created_at, users::id))
        .limit(limit)
        .select((users::id, users::email))
        .load(conn)
}

/// What a listing's suspension touches.
pub fn of_listing(conn: &mut Conn, app_id: &str) -> QueryResult<Reach> {
    let wanted = deployments::app_id.eq(app_id).and(deployments::wanted.eq(true));
    let (deployments, nodes, mines): Running = deployments::table
        .filter(wanted)
        .select((count_star(), count(deployments::node_id).aggregate_distinct(), count(deployments::organization_id).aggregate_distinct()))
        .first(conn)?;
    let active = licenses::app_id.eq(app_id).and(licenses::state.eq(LicenseState::Active));
    let licenses = licenses::table.filter(active).count().get_result(conn)?;
    Ok(Reach { listings: 1, licenses, deployments, nodes, mines, ..Reach::default() })
}

/// What an organisation's suspension touches: its people, sessions and tokens; of a vendor its listings and those who have bought; of a
/// mine its own licences and deployments, which go on.
pub fn of_organization(conn: &mut Conn, id: &str, kind: OrgKind, now: Timestamp) -> QueryResult<Reach> {
    let people = memberships::table.filter(memberships::organization_id.eq(id)).count().get_result(conn)?;
    let open = sessions::organization_id.eq(id).and(sessions::revoked_at.is_null()).and(sessions::expires_at.gt(now));
    let sessions = sessions::table.filter(open).count().get_result(conn)?;
    let open = api_tokens::organization_id.eq(id).and(api_tokens::revoked_at.is_null()).and(api_tokens::expires_at.gt(now));
    let tokens = api_tokens::table.filter(open).count().get_result(conn)?;
    let counted =
        (count_star(), count(deployments::node_id).aggregate_distinct(), count(deployments::organization_id).aggregate_distinct());
    let ((deployments, nodes, mines), licenses, listings): (Running, i64, i64) = if kind == OrgKind::Operator {
        let own = deployments::organization_id.eq(id).and(deployments::wanted.eq(true));
        let active = licenses::organization_id.eq(id).and(licenses::state.eq(LicenseState::Active));
        (deployments::table.filter(own).select(counted).first(conn)?, licenses::table.filter(active).count().get_result(conn)?, 0)
    } else {
        let sold = apps::organization_id.eq(id).and(deployments::wanted.eq(true));
        let active = apps::organization_id.eq(id).and(licenses::state.eq(LicenseState::Active));
        (
            deployments::table.inner_join(apps::table.on(apps::id.eq(deployments::app_id))).filter(sold).select(counted).first(conn)?,
            licenses::table.inner_join(apps::table.on(apps::id.eq(licenses::app_id))).filter(active).count().get_result(conn)?,
            count_listings(conn, id)?,
        )
    };
    Ok(Reach { people, sessions, tokens, listings, licenses, deployments, nodes, mines })
}

/// Listings of a vendor that can be found.
fn count_listings(conn: &mut Conn, organization_id: &str) -> QueryResult<i64> {
    let open = apps::state.eq_any([ListingState::Listed, ListingState::Hidden]);
    apps::table.filter(apps::organization_id.eq(organization_id).and(open)).count().get_result(conn)
}

/// What ends when a person is disabled.
pub fn of_person(conn: &mut Conn, user_id: &str, now: Timestamp) -> QueryResult<Reach> {
    let open = sessions::user_id.eq(user_id).and(sessions::revoked_at.is_null()).and(sessions::expires_at.gt(now));
    let sessions = sessions::table.filter(open).count().get_result(conn)?;
    let open = api_tokens::user_id.eq(user_id).and(api_tokens::revoked_at.is_null()).and(api_tokens::expires_at.gt(now));
    let tokens = api_tokens::table.filter(open).count().get_result(conn)?;
    Ok(Reach { people: 1, sessions, tokens, ..Reach::default() })
}

/// Names of a release: title of the app with the version.
pub fn release_names(conn: &mut Conn, id: &str) -> QueryResult<(String, Names)> {
    releases::table
        .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
        .filter(releases::id.eq(id))
        .select((releases::version, (apps::title_zh, apps::title_en)))
        .first(conn)
}

/// Name, and e-mail address, of a person.
pub fn person(conn: &mut Conn, id: &str) -> QueryResult<(String, String)> {
    users::table.find(id).select((users::name, users::email)).first(conn)
}

/// A session that is not over: user id, name, address.
pub fn session(conn: &mut Conn, token_hash: &str, now: Timestamp) -> QueryResult<(String, String, String)> {
    let open = sessions::revoked_at.is_null().and(sessions::expires_at.gt(now));
    sessions::table
        .find(token_hash)
        .inner_join(users::table.on(users::id.eq(sessions::user_id)))
        .filter(open)
        .select((users::id, users::name, sessions::address))
        .first(conn)
}

/// A token that is not over: user id, name of the person, name of the token.
pub fn token(conn: &mut Conn, id: &str, now: Timestamp) -> QueryResult<(String, String, String)> {
    let open = api_tokens::revoked_at.is_null().and(api_tokens::expires_at.gt(now));
    api_tokens::table
        .find(id)
        .inner_join(users::table.on(users::id.eq(api_tokens::user_id)))
        .filter(open)
        .select((users::id, users::name, api_tokens::name))
        .first(conn)
}

/// Id of a release by the address of its app and its version.
pub fn release_id(conn: &mut Conn, vendor: &str, app: &str, version: &str) -> QueryResult<String> {
    releases::table
        .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(organizations::slug.eq(vendor).and(apps::slug.eq(app)).and(releases::version.eq(version)))
        .select(releases::id)
        .first(conn)
}

/// Id of a person by e-mail address.
pub fn person_id(conn: &mut Conn, email: &str) -> QueryResult<String> {
    users::table.filter(users::email.eq(email)).select(users::id).first(conn)
}
