//! An app as a card, with its price and alarm words.

use std::collections::HashMap;

use app_package::manifest::AppManifest;
use app_package::pipeline::AlarmLevel;

use crate::base::db::Conn;
use crate::base::error::Result;
use crate::catalog::model::{Card, PlanKind, PricePlan, SlugName};
use crate::http::page::Page;
use crate::release::model::Recall;
use crate::release::recall::recalls;

/// An app as the macro `ui::app_card` shows it.
pub struct AppCard {
    pub href: String,
    pub name: String,
    pub summary: String,
    pub cover: Option<String>,
    pub specialty: String,
    pub specialty_name: String,
    pub vendor: String,
    pub price: String,
    /// Whether the platform has recalled the version that the listing shows, and there is no other.
    pub recalled: bool,
}

/// Releases by id, with why the platform has recalled them.
pub type Recalls = HashMap<String, Recall>;

/// Those of the versions which some cards show that are recalled.
pub fn recalls_of<'a>(conn: &mut Conn, cards: impl IntoIterator<Item = &'a Card>) -> Result<Recalls> {
    let shown: Vec<&str> = cards.into_iter().filter_map(|card| card.app.release_id.as_deref()).collect();
    recalls(conn, &shown)
}

impl AppCard {
    /// The card of an app with its vendor; `plans`, `specialties` and `recalls` may hold those of other apps, too.
    pub fn of(page: &Page, card: &Card, plans: &[PricePlan], specialties: &[SlugName], recalls: &Recalls) -> Self {
        let Card { app, vendor } = card;
        let vendor_slug = &vendor.slug;
        let own: Vec<&PricePlan> = plans.iter().filter(|p| p.app_id == app.id).collect();
        let name = specialties.iter().find(|s| s.slug == app.specialty).map(|s| page.name(&s.name).to_owned());
        Self {
            href: format!("/apps/{vendor_slug}/{}", app.slug),
            name: page.pick(&app.title_zh, &app.title_en).to_owned(),
            summary: page.pick(&app.summary_zh, &app.summary_en).to_owned(),
            cover: app.cover_digest.as_ref().map(|d| format!("/media/{vendor_slug}/{}/{d}/small", app.slug)),
            specialty: app.specialty.clone(),
            specialty_name: name.unwrap_or_default(),
            vendor: page.name(&vendor.name).to_owned(),
            price: price_line(page, &own),
            recalled: app.release_id.as_ref().is_some_and(|id| recalls.contains_key(id)),
        }
    }
}

/// "from ¥…", "free trial", or that there is no offer yet.
fn price_line(page: &Page, plans: &[&PricePlan]) -> String {
    match plans.iter().filter(|p| p.kind != PlanKind::Trial).min_by_key(|p| p.price_fen) {
        Some(plan) => page.t2("price-from", "price", page.money(&plan.price_fen), "unit", page.tk("plan-note-", plan.kind)),
        None if plans.is_empty() => page.t("price-none"),
        None => page.t("price-trial-only"),
    }
}

/// The alarm text for a listing, with `[place]`-style placeholders instead of `{place}`.
pub fn alarm_text(page: &Page, manifest: &AppManifest, text: &str) -> String {
    let values: Vec<_> = manifest.values().collect();
    let value =
        |id: &str| values.iter().find(|(own, ..)| *own == id).map_or_else(|| id.to_owned(), |(_, text, _)| text.get(page.lang).to_owned());
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = inside.split_once('}') else {
            out.push('{');
            out.push_str(inside);
            return out;
        };
        match name.split_once(':') {
            Some(("value", id)) => out.push_str(&page.t1("listing-value", "name", value(id))),
            None if name == "place" => out.push_str(&page.t("listing-place")),
            None if name == "label" => out.push_str(&page.t("listing-label")),
            None if name == "text" => out.push_str(&page.t("listing-text")),
            None if name == "zone" => out.push_str(&page.t("listing-zone")),
            None if name == "missing" => out.push_str(&page.t("listing-missing")),
            _ => out.push_str(name),
        }
        rest = after;
    }
    out + rest
}

/// Titles of the zones that an app does not work without; empty where it has none.
pub fn required_zones(page: &Page, manifest: &AppManifest) -> String {
    let zones = manifest.scene.zones.iter().filter(|zone| zone.required).map(|zone| zone.title.get(page.lang));
    joined(page, zones.map(str::to_owned))
}

/// Words of a list, as the reader's language separates them.
pub fn joined(page: &Page, words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(if page.lang == "en" { ", " } else { "、" })
}

/// The word of an alarm's level.
pub fn alarm_level(level: AlarmLevel) -> &'static str {
    match level {
        AlarmLevel::Notice => "notice",
        AlarmLevel::Warning => "warning",
        AlarmLevel::Critical => "critical",
    }
}

/// A plan as shown.
pub struct PlanCard {
    pub id: String,
    pub kind: PlanKind,
    pub price: String,
    pub note: String,
    pub terms: String,
    /// The plan is a trial, and the reader's organisation has had its trial of the app.
    pub used: bool,
}

/// A plan in words; `trial_used`: the reader's organisation has had its trial.
pub fn plan_card(page: &Page, plan: &PricePlan, trial_used: bool) -> PlanCard {
    let trial = page.t2("plan-trial-terms", "days", plan.trial_days, "nodes", plan.trial_nodes);
    PlanCard {
        id: plan.id.clone(),
        kind: plan.kind,
        price: if plan.kind == PlanKind::Trial { page.t("price-free") } else { page.money(&plan.price_fen) },
        note: page.tk("plan-note-", plan.kind),
        terms: if plan.kind == PlanKind::Trial { trial } else { page.tk("plan-terms-", plan.kind) },
        used: trial_used && plan.kind == PlanKind::Trial,
    }
}
