//! Stand-ins for functions of other slices until they are merged: delete this file and import the slices themselves.

pub mod catalog {
    pub mod service {
        use app_package::manifest::AppManifest;
        use diesel::prelude::*;

        use crate::auth::Actor;
        use crate::db::schema::apps::dsl;
        use crate::db::{Conn, Timestamp};
        use crate::error::Result;

        pub fn upsert_from_manifest(conn: &mut Conn, _actor: &Actor, organization_id: &str, m: &AppManifest, now: Timestamp) -> Result<String> {
            let own = dsl::organization_id.eq(organization_id).and(dsl::slug.eq(&m.name));
            if let Some(id) = dsl::apps.filter(own).select(dsl::id).first(conn).optional()? {
                return Ok(id);
            }
            let id = crate::ids::new("app");
            diesel::insert_into(dsl::apps)
                .values((
                    dsl::id.eq(&id),
                    dsl::organization_id.eq(organization_id),
                    dsl::slug.eq(&m.name),
                    dsl::title_zh.eq(&m.title.zh),
                    dsl::title_en.eq(&m.title.en),
                    dsl::summary_zh.eq(&m.summary.zh),
                    dsl::summary_en.eq(&m.summary.en),
                    dsl::specialty.eq(&m.specialty),
                    dsl::scenario.eq(&m.scenario),
                    dsl::input.eq(m.input.as_str()),
                    dsl::safety.eq(m.safety),
                    dsl::state.eq("draft"),
                    dsl::deployments.eq(0i64),
                    dsl::created_at.eq(now),
                    dsl::updated_at.eq(now),
                ))
                .execute(conn)?;
            Ok(id)
        }

        pub fn listed_in(conn: &mut Conn, release_id: &str, app_id: &str, now: Timestamp) -> Result<()> {
            diesel::update(dsl::apps.find(app_id))
                .set((dsl::state.eq("listed"), dsl::release_id.eq(release_id), dsl::listed_at.eq(now), dsl::updated_at.eq(now)))
                .execute(conn)?;
            Ok(())
        }
    }
}

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
