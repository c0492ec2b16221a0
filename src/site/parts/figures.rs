//! Figures of the whole platform.

use diesel::prelude::*;

use crate::base::db::schema::{apps, organizations};
use crate::base::db::{Conn, Timestamp};
use crate::catalog::model::ListingState;

/// Platform figures for the home page: vendors, listed apps, operators, nodes seen since.
pub fn figures(conn: &mut Conn, up_since: Timestamp) -> QueryResult<(i64, i64, i64, i64)> {
    use crate::base::db::schema::nodes;
    let vendors = organizations::table.filter(organizations::kind.eq("vendor")).count().get_result(conn)?;
    let listed = apps::table.filter(apps::state.eq(ListingState::Listed)).count().get_result(conn)?;
    let operators = organizations::table.filter(organizations::kind.eq("operator")).count().get_result(conn)?;
    let up = nodes::table.filter(nodes::seen_at.ge(up_since)).count().get_result(conn)?;
    Ok((vendors, listed, operators, up))
}
