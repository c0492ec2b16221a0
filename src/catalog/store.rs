//! Queries of the catalogue.

use std::collections::HashMap;

use diesel::dsl::{count_star, exists};
use diesel::prelude::*;

use crate::base::db::schema::{apps, organizations, plans, scenario_follows, scenarios, specialties, users};
use crate::base::db::{Conn, Timestamp};
use crate::catalog::model::{AppName, AppRow, Card, Facts, ListingState, Owner, PlanKind, PricePlan, Scenario, SlugName};
use crate::catalog::query::{CatalogQuery, PAGE, Sort};

/// Narrows listed apps by everything in the query but the facet named, so that a facet shows what choosing another value would give.
macro_rules! narrowed {
    ($source:expr, $query:expr, $except:literal) => {{
        let mut boxed = $source.filter(apps::state.eq(ListingState::Listed)).into_boxed();
        if $except != "specialty" && !$query.specialty.is_empty() {
            boxed = boxed.filter(apps::specialty.eq(&$query.specialty));
        }
        if $except != "scenario" && !$query.scenario.is_empty() {
            boxed = boxed.filter(apps::scenario.eq(&$query.scenario));
        }
        if $except != "input" && !$query.input.is_empty() {
            boxed = boxed.filter(apps::input.eq(&$query.input));
        }
        if $except != "plan" && !$query.plan.is_empty() {
            let kind = $query.plan_kind();
            let offered = plans::table.filter(plans::app_id.eq(apps::id).and(plans::active.eq(true)).and(plans::kind.nullable().eq(kind)));
            boxed = boxed.filter(exists(offered));
        }
        boxed
    }};
}

/// One page of cards and whether there are more; without regard to words.
pub fn list_cards(conn: &mut Conn, query: &CatalogQuery) -> QueryResult<(Vec<Card>, bool)> {
    let last: Option<AppRow> = if query.after.is_empty() { None } else { find_by_id(conn, &query.after)? };
    let joined = apps::table.inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)));
    let mut rows = narrowed!(joined, query, "");
    let limit = i64::try_from(PAGE).unwrap_or(24) + 1;
    if query.order() == Sort::Deployed {
        if let Some(last) = &last {
            rows =
                rows.filter(apps::deployments.lt(last.deployments).or(apps::deployments.eq(last.deployments).and(apps::id.lt(&last.id))));
        }
        rows = rows.order((apps::deployments.desc(), apps::id.desc()));
    } else {
        if let Some(last) = &last {
            rows = rows.filter(apps::listed_at.lt(last.listed_at).or(apps::listed_at.eq(last.listed_at).and(apps::id.lt(&last.id))));
        }
        rows = rows.order((apps::listed_at.desc(), apps::id.desc()));
    }
    let mut cards: Vec<Card> = rows
        .limit(limit)
        .select((AppRow::as_select(), (organizations::slug, (organizations::name_zh, organizations::name_en))))
        .load(conn)?;
    let more = cards.len() > PAGE;
    cards.truncate(PAGE);
    Ok((cards, more))
}

/// Values of one `IN (…)`.
const BATCH: usize = 1_000;

/// What decides about the listed ones of some apps.
pub fn facts(conn: &mut Conn, app_ids: &[String]) -> QueryResult<Vec<Facts>> {
    let mut all = Vec::new();
    for batch in app_ids.chunks(BATCH) {
        all.extend(facts_of(conn, batch)?);
    }
    Ok(all)
}

fn facts_of(conn: &mut Conn, app_ids: &[String]) -> QueryResult<Vec<Facts>> {
    type Row = (String, String, String, String, i64, Option<Timestamp>);
    let rows: Vec<Row> = apps::table
        .filter(apps::id.eq_any(app_ids).and(apps::state.eq(ListingState::Listed)))
        .select((apps::id, apps::specialty, apps::scenario, apps::input, apps::deployments, apps::listed_at))
        .load(conn)?;
    let offered = plans::table.filter(plans::app_id.eq_any(app_ids).and(plans::active.eq(true)));
    let mut kinds: HashMap<String, Vec<PlanKind>> = HashMap::new();
    for (app_id, kind) in offered.select((plans::app_id, plans::kind)).distinct().load(conn)? {
        kinds.entry(app_id).or_default().push(kind);
    }
    let facts = |(id, specialty, scenario, input, deployments, listed_at): Row| {
        let mut plans = kinds.remove(&id).unwrap_or_default();
        plans.sort_unstable_by_key(|kind| kind.as_str());
        Facts { id, specialty, scenario, input, deployments, listed_at, plans }
    };
    Ok(rows.into_iter().map(facts).collect())
}

/// Listed apps by their ids, in that order.
pub fn cards_of(conn: &mut Conn, app_ids: &[&str]) -> QueryResult<Vec<Card>> {
    let found: Vec<Card> = apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(apps::id.eq_any(app_ids.iter().copied()).and(apps::state.eq(ListingState::Listed)))
        .select((AppRow::as_select(), (organizations::slug, (organizations::name_zh, organizations::name_en))))
        .load(conn)?;
    Ok(app_ids.iter().filter_map(|id| found.iter().find(|card| card.app.id == **id).cloned()).collect())
}

/// Listed apps by the slugs of vendor and app, in that order; what is not listed is left out.
pub fn cards_at(conn: &mut Conn, wanted: &[(String, String)]) -> QueryResult<Vec<Card>> {
    let vendors: Vec<&str> = wanted.iter().map(|(vendor, _)| vendor.as_str()).collect();
    let slugs: Vec<&str> = wanted.iter().map(|(_, app)| app.as_str()).collect();
    // Select any of these vendors with any of these slugs: a few rows more than wanted at the most.
    let found: Vec<Card> = apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(apps::state.eq(ListingState::Listed).and(organizations::slug.eq_any(vendors)).and(apps::slug.eq_any(slugs)))
        .select((AppRow::as_select(), (organizations::slug, (organizations::name_zh, organizations::name_en))))
        .load(conn)?;
    let at = |(vendor, slug): &(String, String)| found.iter().find(|c| c.vendor.slug == *vendor && c.app.slug == *slug).cloned();
    Ok(wanted.iter().filter_map(at).collect())
}

/// Number of apps that the query finds, without regard to words.
pub fn count_found(conn: &mut Conn, query: &CatalogQuery) -> QueryResult<i64> {
    narrowed!(apps::table, query, "").count().get_result(conn)
}

/// Counts of one facet: `specialty`, `scenario` or `input`.
pub fn facet(conn: &mut Conn, query: &CatalogQuery, name: &str) -> QueryResult<Vec<(String, i64)>> {
    // The plan filter is an EXISTS, not a join, so that an app with several plans counts once.
    match name {
        "specialty" => {
            narrowed!(apps::table.group_by(apps::specialty).select((apps::specialty, count_star())), query, "specialty").load(conn)
        }
        "scenario" => narrowed!(apps::table.group_by(apps::scenario).select((apps::scenario, count_star())), query, "scenario").load(conn),
        _ => narrowed!(apps::table.group_by(apps::input).select((apps::input, count_star())), query, "input").load(conn),
    }
}

/// Number of apps that offer each kind of plan.
pub fn plan_facet(conn: &mut Conn, query: &CatalogQuery) -> QueryResult<Vec<(PlanKind, i64)>> {
    PlanKind::ALL
        .iter()
        .map(|kind| {
            let offered = plans::table.filter(plans::app_id.eq(apps::id).and(plans::active.eq(true)).and(plans::kind.eq(*kind)));
            let n = narrowed!(apps::table, query, "plan").filter(exists(offered)).count().get_result(conn)?;
            Ok((*kind, n))
        })
        .collect()
}

/// Active plans of some apps.
pub fn plans_of(conn: &mut Conn, app_ids: &[&str]) -> QueryResult<Vec<PricePlan>> {
    plans::table
        .filter(plans::app_id.eq_any(app_ids.iter().copied()).and(plans::active.eq(true)))
        .order((plans::app_id, plans::id))
        .select(PricePlan::as_select())
        .load(conn)
}

/// Specialties in order: slug, name zh, name en.
pub fn specialties(conn: &mut Conn) -> QueryResult<Vec<SlugName>> {
    specialties::table.order(specialties::position).select((specialties::slug, (specialties::name_zh, specialties::name_en))).load(conn)
}

/// Scenarios in the order of the taxonomy.
pub fn scenarios(conn: &mut Conn) -> QueryResult<Vec<Scenario>> {
    scenarios::table
        .inner_join(specialties::table.on(specialties::slug.eq(scenarios::specialty)))
        .order((specialties::position, scenarios::position))
        .select((scenarios::slug, scenarios::specialty, (scenarios::name_zh, scenarios::name_en)))
        .load(conn)
}

/// A scenario by its slug.
pub fn scenario(conn: &mut Conn, slug: &str) -> QueryResult<Option<Scenario>> {
    scenarios::table
        .find(slug)
        .select((scenarios::slug, scenarios::specialty, (scenarios::name_zh, scenarios::name_en)))
        .first(conn)
        .optional()
}

/// Slugs of vendor and app of the listed app that a scenario has had the longest.
pub fn first_of(conn: &mut Conn, scenario: &str) -> QueryResult<Option<(String, String)>> {
    apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(apps::scenario.eq(scenario).and(apps::state.eq(ListingState::Listed)))
        .order((apps::listed_at, apps::id))
        .select((organizations::slug, apps::slug))
        .first(conn)
        .optional()
}

/// Listed apps of each scenario.
pub fn counts_by_scenario(conn: &mut Conn) -> QueryResult<Vec<(String, i64)>> {
    apps::table.filter(apps::state.eq(ListingState::Listed)).group_by(apps::scenario).select((apps::scenario, count_star())).load(conn)
}

/// Slugs of the scenarios that a person follows; how many they may is bounded.
pub fn followed(conn: &mut Conn, user_id: &str) -> QueryResult<Vec<String>> {
    scenario_follows::table
        .filter(scenario_follows::user_id.eq(user_id))
        .order(scenario_follows::scenario)
        .select(scenario_follows::scenario)
        .load(conn)
}

/// Who follows a scenario: user id, address (none of who was disabled), language.
pub fn followers(conn: &mut Conn, scenario: &str, limit: i64) -> QueryResult<Vec<(String, Option<String>, String)>> {
    let rows: Vec<(String, String, Option<Timestamp>, String)> = scenario_follows::table
        .inner_join(users::table.on(users::id.eq(scenario_follows::user_id)))
        .filter(scenario_follows::scenario.eq(scenario))
        .order(scenario_follows::user_id)
        .limit(limit)
        .select((users::id, users::email, users::disabled_at, scenario_follows::language))
        .load(conn)?;
    let told = |(id, email, disabled, language): (_, _, Option<Timestamp>, _)| (id, disabled.is_none().then_some(email), language);
    Ok(rows.into_iter().map(told).collect())
}

pub fn insert_follow(conn: &mut Conn, user_id: &str, scenario: &str, language: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::insert_into(scenario_follows::table)
        .values((
            scenario_follows::user_id.eq(user_id),
            scenario_follows::scenario.eq(scenario),
            scenario_follows::language.eq(language),
            scenario_follows::created_at.eq(now),
        ))
        .execute(conn)
}

pub fn delete_follow(conn: &mut Conn, user_id: &str, scenario: &str) -> QueryResult<usize> {
    diesel::delete(scenario_follows::table.find((user_id, scenario))).execute(conn)
}

/// Listed apps of each specialty.
pub fn counts_by_specialty(conn: &mut Conn) -> QueryResult<Vec<(String, i64)>> {
    apps::table.filter(apps::state.eq(ListingState::Listed)).group_by(apps::specialty).select((apps::specialty, count_star())).load(conn)
}

/// An app by id.
pub fn find_by_id(conn: &mut Conn, id: &str) -> QueryResult<Option<AppRow>> {
    apps::table.find(id).select(AppRow::as_select()).first(conn).optional()
}

/// An app by the slugs of its address.
pub fn find_by_slugs(conn: &mut Conn, vendor: &str, app: &str) -> QueryResult<Option<AppRow>> {
    apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(organizations::slug.eq(vendor).and(apps::slug.eq(app)))
        .select(AppRow::as_select())
        .first(conn)
        .optional()
}

/// An app of a vendor by name.
pub fn find_own(conn: &mut Conn, organization_id: &str, slug: &str) -> QueryResult<Option<AppRow>> {
    apps::table
        .filter(apps::organization_id.eq(organization_id).and(apps::slug.eq(slug)))
        .select(AppRow::as_select())
        .first(conn)
        .optional()
}

pub fn insert_app(conn: &mut Conn, app: &AppRow) -> QueryResult<usize> {
    diesel::insert_into(apps::table).values(app).execute(conn)
}

/// Writes texts and classification.
pub fn update_texts(conn: &mut Conn, app: &AppRow) -> QueryResult<usize> {
    diesel::update(apps::table.find(&app.id))
        .set((
            apps::title_zh.eq(&app.title_zh),
            apps::title_en.eq(&app.title_en),
            apps::summary_zh.eq(&app.summary_zh),
            apps::summary_en.eq(&app.summary_en),
            apps::specialty.eq(&app.specialty),
            apps::scenario.eq(&app.scenario),
            apps::input.eq(&app.input),
            apps::safety.eq(app.safety),
            apps::updated_at.eq(app.updated_at),
        ))
        .execute(conn)
}

/// Makes a release the listing's own and the app listed (a hidden app stays hidden).
pub fn set_listed(conn: &mut Conn, app_id: &str, release_id: &str, cover: Option<&str>, now: Timestamp) -> QueryResult<usize> {
    diesel::update(apps::table.find(app_id))
        .set((apps::release_id.eq(release_id), apps::cover_digest.eq(cover), apps::updated_at.eq(now)))
        .execute(conn)?;
    let first = apps::id.eq(app_id).and(apps::listed_at.is_null());
    diesel::update(apps::table.filter(first)).set(apps::listed_at.eq(now)).execute(conn)?;
    let fresh = apps::id.eq(app_id).and(apps::state.eq_any([ListingState::Draft, ListingState::InReview]));
    diesel::update(apps::table.filter(fresh)).set(apps::state.eq(ListingState::Listed)).execute(conn)
}

/// Marks an app as changed.
pub fn touch(conn: &mut Conn, app_id: &str, now: Timestamp) -> QueryResult<usize> {
    diesel::update(apps::table.find(app_id)).set(apps::updated_at.eq(now)).execute(conn)
}

/// Moves a listing from one state to another; 0 rows where it is not in the first.
pub fn set_state(conn: &mut Conn, app_id: &str, from: ListingState, to: ListingState, now: Timestamp) -> QueryResult<usize> {
    diesel::update(apps::table.filter(apps::id.eq(app_id).and(apps::state.eq(from))))
        .set((apps::state.eq(to), apps::updated_at.eq(now)))
        .execute(conn)
}

/// Counts one more deployment, for sorting.
pub fn count_deployment(conn: &mut Conn, app_id: &str) -> QueryResult<usize> {
    diesel::update(apps::table.find(app_id)).set(apps::deployments.eq(apps::deployments + 1)).execute(conn)
}

pub fn get_plan(conn: &mut Conn, id: &str) -> QueryResult<PricePlan> {
    plans::table.find(id).select(PricePlan::as_select()).first(conn)
}

pub fn insert_plan(conn: &mut Conn, plan: &PricePlan) -> QueryResult<usize> {
    diesel::insert_into(plans::table).values(plan).execute(conn)
}

/// Ends a plan of an app; 0 rows where it is not active.
pub fn retire_plan(conn: &mut Conn, app_id: &str, plan_id: &str) -> QueryResult<usize> {
    diesel::update(plans::table.filter(plans::id.eq(plan_id).and(plans::app_id.eq(app_id)).and(plans::active.eq(true))))
        .set(plans::active.eq(false))
        .execute(conn)
}

/// A page of the listed apps of a vendor after one of them, newest first, and whether there are more.
pub fn cards_of_vendor(conn: &mut Conn, organization_id: &str, after: &str) -> QueryResult<(Vec<Card>, bool)> {
    let last: Option<AppRow> = if after.is_empty() { None } else { find_by_id(conn, after)? };
    let mut rows = apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(apps::state.eq(ListingState::Listed).and(apps::organization_id.eq(organization_id)))
        .into_boxed();
    if let Some(last) = &last {
        rows = rows.filter(apps::listed_at.lt(last.listed_at).or(apps::listed_at.eq(last.listed_at).and(apps::id.lt(&last.id))));
    }
    let mut cards: Vec<Card> = rows
        .order((apps::listed_at.desc(), apps::id.desc()))
        .limit(i64::try_from(PAGE).unwrap_or(24) + 1)
        .select((AppRow::as_select(), (organizations::slug, (organizations::name_zh, organizations::name_en))))
        .load(conn)?;
    let more = cards.len() > PAGE;
    cards.truncate(PAGE);
    Ok((cards, more))
}

/// Apps of a developer before an id, whatever their state, newest first.
pub fn list_own(conn: &mut Conn, organization_id: &str, before: Option<&str>, limit: i64) -> QueryResult<Vec<AppRow>> {
    let own = apps::table.filter(apps::organization_id.eq(organization_id.to_owned())).order(apps::id.desc()).limit(limit);
    let mut query = own.select(AppRow::as_select()).into_boxed();
    if let Some(before) = before {
        query = query.filter(apps::id.lt(before.to_owned()));
    }
    query.load(conn)
}

pub fn app_name(conn: &mut Conn, app_id: &str) -> QueryResult<AppName> {
    apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(apps::id.eq(app_id))
        .select((organizations::slug, apps::slug, apps::title_zh, apps::title_en, apps::safety, apps::state))
        .first(conn)
}

/// Names of several apps, by id.
pub fn app_names(conn: &mut Conn, app_ids: &[String]) -> QueryResult<Vec<(String, AppName)>> {
    apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(apps::id.eq_any(app_ids))
        .select((apps::id, (organizations::slug, apps::slug, apps::title_zh, apps::title_en, apps::safety, apps::state)))
        .load(conn)
}

pub fn owner(conn: &mut Conn, app_id: &str) -> QueryResult<Owner> {
    let (organization_id, vendor, app): (String, String, String) = apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .filter(apps::id.eq(app_id))
        .select((apps::organization_id, organizations::slug, apps::slug))
        .first(conn)?;
    Ok(Owner { organization_id, vendor, app })
}

/// States that a suspension takes a listing out of, and that it goes back to.
const BEFORE_SUSPENSION: [ListingState; 4] = [ListingState::Draft, ListingState::InReview, ListingState::Listed, ListingState::Hidden];

/// Suspends a listing; 0 rows where it is suspended by itself. One that is suspended with its organisation keeps the state before that.
pub fn suspend(conn: &mut Conn, app_id: &str, reason: &str, now: Timestamp) -> QueryResult<usize> {
    let going = apps::state.eq_any(BEFORE_SUSPENSION);
    let fresh = diesel::update(apps::table.find(app_id).filter(going))
        .set((
            apps::suspended_from.eq(apps::state.nullable()),
            apps::state.eq(ListingState::Suspended),
            apps::suspended_reason.eq(reason),
            apps::updated_at.eq(now),
        ))
        .execute(conn)?;
    let with_organization = apps::state.eq(ListingState::Suspended).and(apps::suspended_reason.is_null());
    let own = diesel::update(apps::table.find(app_id).filter(with_organization)).set(apps::suspended_reason.eq(reason)).execute(conn)?;
    // The second statement changes nothing where the first did: that listing has a reason.
    Ok(fresh + own)
}

/// Takes a listing's own suspension off; 0 rows where it has none. It stays suspended until [`resume_of`].
pub fn resume(conn: &mut Conn, app_id: &str) -> QueryResult<usize> {
    let own = apps::state.eq(ListingState::Suspended).and(apps::suspended_reason.is_not_null());
    diesel::update(apps::table.find(app_id).filter(own)).set(apps::suspended_reason.eq(None::<String>)).execute(conn)
}

/// Suspends the listings of an organisation with it.
pub fn suspend_of(conn: &mut Conn, organization_id: &str, now: Timestamp) -> QueryResult<usize> {
    let going = apps::state.eq_any(BEFORE_SUSPENSION);
    diesel::update(apps::table.filter(apps::organization_id.eq(organization_id).and(going)))
        .set((apps::suspended_from.eq(apps::state.nullable()), apps::state.eq(ListingState::Suspended), apps::updated_at.eq(now)))
        .execute(conn)
}

/// Gives the suspended listings of an organisation that have no reason of their own the state back that they had. What was published
/// meanwhile becomes listed.
pub fn resume_of(conn: &mut Conn, organization_id: &str, now: Timestamp) -> QueryResult<usize> {
    for back in BEFORE_SUSPENSION {
        let with_it = apps::state.eq(ListingState::Suspended).and(apps::suspended_reason.is_null());
        let of = apps::organization_id.eq(organization_id).and(with_it).and(apps::suspended_from.eq(back.as_str()));
        diesel::update(apps::table.filter(of))
            .set((apps::state.eq(back), apps::suspended_from.eq(None::<String>), apps::updated_at.eq(now)))
            .execute(conn)?;
    }
    let unlisted = apps::state.eq_any([ListingState::Draft, ListingState::InReview]);
    diesel::update(apps::table.filter(apps::organization_id.eq(organization_id).and(unlisted).and(apps::release_id.is_not_null())))
        .set(apps::state.eq(ListingState::Listed))
        .execute(conn)
}

/// Scenarios of the listed apps of an organisation, by slug.
pub fn scenarios_of(conn: &mut Conn, organization_id: &str) -> QueryResult<Vec<String>> {
    let listed = apps::organization_id.eq(organization_id).and(apps::state.eq(ListingState::Listed));
    apps::table.filter(listed).order(apps::scenario).select(apps::scenario).distinct().load(conn)
}

/// Why a listing is suspended by itself; none where it is not, or only with its organisation.
pub fn suspension(conn: &mut Conn, app_id: &str) -> QueryResult<Option<String>> {
    let suspended = apps::table.find(app_id).filter(apps::state.eq(ListingState::Suspended));
    Ok(suspended.select(apps::suspended_reason).first::<Option<String>>(conn).optional()?.flatten())
}
