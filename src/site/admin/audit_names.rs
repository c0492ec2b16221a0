//! Names for the ids in audit records, and ids for the names that people search by. Reads the tables of other slices and changes none.

use std::collections::{BTreeSet, HashMap};

use diesel::prelude::*;
use serde_json::Value;

use crate::audit::model::{AuditSearch, DisplayName, Record};
use crate::base::auth::OrgKind;
use crate::base::db::Conn;
use crate::base::db::schema::{
    apps, cases, evaluation_sets, licenses, nodes, orders, organizations, releases, repositories, users, vendor_keys,
};
use crate::base::db::text::{ESCAPE, containing, lower};

/// Most people, organisations, orders or apps that one search text stands for, and most things of each kind that belong to these apps.
const PEOPLE: i64 = 20;
const OF_APPS: i64 = 200;
/// Shortest part of an order's number that is looked for, in characters.
const LEAST_OF_NUMBER: usize = 4;

/// The records meant by a search text: an id, an order's number, a part of it or its reference (with its licence), a person's e-mail address or
/// part of a name, an organisation's or app's short name or part of a name; of an app with what belongs to it.
pub fn sought(conn: &mut Conn, text: &str) -> QueryResult<AuditSearch> {
    let capitals = text.to_uppercase();
    let named = orders::number.eq(&capitals).or(orders::reference.eq(&capitals));
    let mut of_order: Vec<String> = orders::table.filter(named).limit(PEOPLE).select(orders::id).load(conn)?;
    if of_order.is_empty() && capitals.chars().count() >= LEAST_OF_NUMBER {
        let numbered = orders::table.filter(orders::number.like(containing(&capitals)).escape(ESCAPE)).order(orders::id.desc());
        of_order = numbered.limit(PEOPLE).select(orders::id).load(conn)?;
    }
    let of_license: Vec<String> = licenses::table.filter(licenses::order_id.eq_any(&of_order)).select(licenses::id).load(conn)?;
    let called = lower(users::name).like(lower(containing(text))).escape(ESCAPE);
    let people = users::table.filter(users::email.eq(text.to_lowercase()).or(users::id.eq(text)).or(called));
    let people: Vec<String> = people.order(users::id).limit(PEOPLE).select(users::id).load(conn)?;
    let named = || lower(containing(text));
    let called = organizations::slug.eq(text.to_lowercase()).or(lower(organizations::name_zh).like(named()).escape(ESCAPE));
    let called = called.or(lower(organizations::name_en).like(named()).escape(ESCAPE));
    let of_organization: Vec<String> = organizations::table.filter(called).limit(PEOPLE).select(organizations::id).load(conn)?;
    let actors = people.iter().map(|id| format!("user:{id}")).chain([format!("node:{text}"), text.to_owned()]).collect();
    let called = lower(apps::title_zh).like(named()).escape(ESCAPE).or(lower(apps::title_en).like(named()).escape(ESCAPE));
    let called = apps::table.filter(called.or(lower(apps::slug).like(named()).escape(ESCAPE))).order(apps::id.desc()).limit(PEOPLE);
    let of_app: Vec<String> = called.select(apps::id).load(conn)?;
    let of_app = [belonging(conn, &of_app)?, of_app].concat();
    let subjects = [vec![text.to_owned()], of_order, of_license, people, of_organization, of_app].concat();
    Ok(AuditSearch { subjects, actors })
}

/// The newest releases, cases and licences of some apps.
fn belonging(conn: &mut Conn, app_ids: &[String]) -> QueryResult<Vec<String>> {
    if app_ids.is_empty() {
        return Ok(Vec::new());
    }
    let of = releases::table.filter(releases::app_id.eq_any(app_ids)).order(releases::id.desc()).limit(OF_APPS);
    let mut all: Vec<String> = of.select(releases::id).load(conn)?;
    let of = cases::table.filter(cases::app_id.eq_any(app_ids)).order(cases::id.desc()).limit(OF_APPS);
    all.extend(of.select(cases::id).load::<String>(conn)?);
    let of = licenses::table.filter(licenses::app_id.eq_any(app_ids)).order(licenses::id.desc()).limit(OF_APPS);
    all.extend(of.select(licenses::id).load::<String>(conn)?);
    Ok(all)
}

/// Names of all ids in the records: of actors, subjects and details.
pub fn of(conn: &mut Conn, records: &[Record]) -> QueryResult<HashMap<String, DisplayName>> {
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for record in records {
        ids.insert(record.subject.clone());
        ids.extend(record.actor.split_once(':').map(|(_, id)| id.to_owned()));
        if let Ok(Value::Object(detail)) = serde_json::from_str(&record.detail) {
            ids.extend(detail.into_iter().filter_map(|(_, value)| value.as_str().map(ToOwned::to_owned)));
        }
    }
    let mut names = HashMap::new();
    // In portions of 500: databases limit the number of values in one statement.
    let ids: Vec<String> = ids.into_iter().filter(|id| id.get(3..4) == Some("_")).collect();
    for some in ids.chunks(500) {
        load(conn, some, &mut names)?;
    }
    Ok(names)
}

fn load(conn: &mut Conn, ids: &[String], names: &mut HashMap<String, DisplayName>) -> QueryResult<()> {
    let of = |kind: &str| ids.iter().filter(|id| id.starts_with(kind)).cloned().collect::<Vec<_>>();
    let same = |name: String, href: Option<String>| DisplayName { zh: name.clone(), en: name, href };
    let people = users::table.filter(users::id.eq_any(of("usr_"))).select((users::id, users::name));
    for (id, name) in people.load::<(String, String)>(conn)? {
        names.insert(id, same(name, None));
    }
    let found = nodes::table.filter(nodes::id.eq_any(of("nod_"))).select((nodes::id, nodes::name));
    for (id, name) in found.load::<(String, String)>(conn)? {
        names.insert(id, same(name, None));
    }
    let found = vendor_keys::table.filter(vendor_keys::id.eq_any(of("key_"))).select((vendor_keys::id, vendor_keys::name));
    for (id, name) in found.load::<(String, String)>(conn)? {
        names.insert(id, same(name, None));
    }
    let found = repositories::table.filter(repositories::id.eq_any(of("rep_"))).select((repositories::id, repositories::name));
    for (id, name) in found.load::<(String, String)>(conn)? {
        names.insert(id, same(name, None));
    }
    let found = orders::table.filter(orders::id.eq_any(of("ord_"))).select((orders::id, orders::number));
    for (id, number) in found.load::<(String, String)>(conn)? {
        let href = Some(format!("/admin/payments/{id}"));
        names.insert(id, same(number, href));
    }
    let found = organizations::table.filter(organizations::id.eq_any(of("org_"))).select((
        organizations::id,
        organizations::kind,
        organizations::slug,
        organizations::name_zh,
        organizations::name_en,
    ));
    for (id, kind, slug, zh, en) in found.load::<(String, OrgKind, String, String, String)>(conn)? {
        let href = (kind == OrgKind::Vendor).then(|| format!("/vendors/{slug}"));
        let (zh, en) = (if zh.is_empty() { en.clone() } else { zh.clone() }, if en.is_empty() { zh } else { en });
        names.insert(id, DisplayName { zh, en, href });
    }
    let found = apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(apps::id.eq_any(of("app_")))
        .select((apps::id, organizations::slug, apps::slug, apps::title_zh, apps::title_en));
    for (id, vendor, slug, zh, en) in found.load::<(String, String, String, String, String)>(conn)? {
        names.insert(id, DisplayName { zh, en, href: Some(format!("/apps/{vendor}/{slug}")) });
    }
    let found = licenses::table.inner_join(apps::table.on(apps::id.eq(licenses::app_id))).filter(licenses::id.eq_any(of("lic_"))).select((
        licenses::id,
        apps::title_zh,
        apps::title_en,
    ));
    for (id, zh, en) in found.load::<(String, String, String)>(conn)? {
        let href = Some(format!("/admin/licenses/{id}"));
        names.insert(id, DisplayName { zh, en, href });
    }
    let found = releases::table.inner_join(apps::table.on(apps::id.eq(releases::app_id))).filter(releases::id.eq_any(of("rel_"))).select((
        releases::id,
        releases::version,
        apps::title_zh,
        apps::title_en,
    ));
    for (id, version, zh, en) in found.load::<(String, String, String, String)>(conn)? {
        let href = Some(format!("/admin/releases/{id}"));
        names.insert(id, DisplayName { zh: format!("{zh} {version}"), en: format!("{en} {version}"), href });
    }
    let found = evaluation_sets::table.filter(evaluation_sets::id.eq_any(of("evs_"))).select((
        evaluation_sets::id,
        evaluation_sets::name_zh,
        evaluation_sets::name_en,
    ));
    for (id, zh, en) in found.load::<(String, String, String)>(conn)? {
        let href = Some(format!("/admin/evaluation/{id}"));
        names.insert(id, DisplayName { zh, en, href });
    }
    let found = cases::table
        .inner_join(releases::table.on(releases::id.eq(cases::release_id)))
        .inner_join(apps::table.on(apps::id.eq(cases::app_id)))
        .filter(cases::id.eq_any(of("cas_")))
        .select((cases::id, releases::version, apps::title_zh, apps::title_en));
    for (id, version, zh, en) in found.load::<(String, String, String, String)>(conn)? {
        let href = Some(format!("/admin/cases/{id}"));
        names.insert(id, DisplayName { zh: format!("{zh} {version}"), en: format!("{en} {version}"), href });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::audit::model::Filter;
    use crate::base::auth::Role;
    use crate::catalog::model::PlanKind;
    use crate::site::admin::audit::read_page;
    use crate::testing::shop::{license, listing, shop};
    use crate::testing::{self, each_backend};

    #[tokio::test]
    async fn the_log_is_searched_by_parts_of_names_and_numbers() {
        each_backend(|app| async move {
            let shop = shop(&app).await;
            listing(&app, &shop.vendor, "idler-watch", false).await;
            license(&app, &shop, PlanKind::Subscription, 1).await;
            let auditor = testing::platform(&app, Role::Auditor).await;
            let found = async |q: &str| -> Vec<String> {
                let filter = Filter { q: q.into(), ..Filter::default() };
                read_page(&app, &auditor, None, filter).await.unwrap().records.into_iter().map(|record| record.action).collect()
            };
            for (q, action) in [
                ("idler-watch", "app.created"),
                ("IDLER", "release.published"),
                ("idler", "case.approved"),
                ("0001", "order.placed"),
                ("belt", "license.issued"),
            ] {
                let actions = found(q).await;
                assert!(actions.iter().any(|found| found == action), "{q}: {actions:?}");
            }
            assert!(!found("idler").await.iter().any(|action| action == "order.placed"));
            assert!(found("001").await.is_empty(), "too short a part of a number");
        })
        .await;
    }
}
