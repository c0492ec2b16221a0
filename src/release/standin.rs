//! Stand-ins for functions of other slices until they are merged: delete this file and import the slices themselves.

pub mod moderation {
    pub mod service {
        use diesel::prelude::*;

        use crate::auth::Actor;
        use crate::db::schema::{apps, cases::dsl};
        use crate::db::{Conn, Timestamp};
        use crate::error::Result;
        use crate::release::model::Release;

        pub fn open_case(conn: &mut Conn, actor: &Actor, release: &Release, now: Timestamp) -> Result<()> {
            let organization_id: String = apps::table.find(&release.app_id).select(apps::organization_id).first(conn)?;
            diesel::insert_into(dsl::cases)
                .values((
                    dsl::id.eq(crate::ids::new("cas")),
                    dsl::release_id.eq(&release.id),
                    dsl::app_id.eq(&release.app_id),
                    dsl::organization_id.eq(organization_id),
                    dsl::state.eq("open"),
                    dsl::reason.eq(""),
                    dsl::opened_by.eq(&actor.person()?.user_id),
                    dsl::opened_at.eq(now),
                ))
                .execute(conn)?;
            Ok(())
        }
    }
}
