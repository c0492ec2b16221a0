//! Figures of the whole platform.

use diesel::prelude::*;

use crate::base::auth::OrgKind;
use crate::base::db::schema::{apps, nodes, organizations};
use crate::base::db::{Conn, Timestamp};
use crate::catalog::model::ListingState;
use crate::fleet::model::up_between;

/// Platform figures for the home page.
#[derive(Debug, Clone, Copy)]
pub struct PlatformFigures {
    pub vendors: i64,
    /// Listed apps.
    pub apps: i64,
    pub operators: i64,
    /// Nodes that have called lately.
    pub nodes: i64,
}

/// Counts them.
pub fn figures(conn: &mut Conn, now: Timestamp) -> QueryResult<PlatformFigures> {
    let (first, last) = up_between(now);
    Ok(PlatformFigures {
        vendors: organizations::table.filter(organizations::kind.eq(OrgKind::Vendor)).count().get_result(conn)?,
        apps: apps::table.filter(apps::state.eq(ListingState::Listed)).count().get_result(conn)?,
        operators: organizations::table.filter(organizations::kind.eq(OrgKind::Operator)).count().get_result(conn)?,
        nodes: nodes::table.filter(nodes::seen_at.between(first, last)).count().get_result(conn)?,
    })
}
