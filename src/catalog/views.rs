//! Pages of the catalogue.

use app_package::manifest::{AlarmLevel, AppManifest, Post};
use askama::Template;

use super::compare;
use super::model::Card;
use super::model::{ListingState, Plan, PlanKind};
use super::plans::PlanForm;
use super::query::CatalogQuery;
use super::service::Listing;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::evaluation::views::ScoreView;
use crate::http::page::{FormErrors, Page};
use crate::release::model::{Channel, Release, ReleaseState};
use crate::release::report::{ComparisonView, ReportView, bytes, figure};
use crate::site::parts::chain::ChainLink;
use crate::trust::evidence::Evidence;
use crate::trust::views::TrustView;

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
    pub rating: Option<String>,
    pub reviews: i64,
    pub certified: bool,
}

impl AppCard {
    /// From the row, its vendor, the plans at hand and the specialties' names.
    pub fn of(page: &Page, card: &Card, plans: &[Plan], specialties: &[(String, String, String)]) -> Self {
        let (app, (vendor_slug, vendor_zh, vendor_en)) = card;
        let own: Vec<&Plan> = plans.iter().filter(|p| p.app_id == app.id).collect();
        let name = specialties.iter().find(|(slug, ..)| *slug == app.specialty).map(|(_, zh, en)| page.pick(zh, en).to_owned());
        Self {
            href: format!("/apps/{vendor_slug}/{}", app.slug),
            name: page.pick(&app.title_zh, &app.title_en).to_owned(),
            summary: page.pick(&app.summary_zh, &app.summary_en).to_owned(),
            cover: app.cover_digest.as_ref().map(|d| format!("/media/{vendor_slug}/{}/{d}/small", app.slug)),
            specialty: app.specialty.clone(),
            specialty_name: name.unwrap_or_default(),
            vendor: page.pick(vendor_zh, vendor_en).to_owned(),
            price: price_line(page, &own),
            rating: None,
            reviews: 0,
            certified: false,
        }
    }
}

/// "from ¥…", "free trial", or that there is no offer yet.
fn price_line(page: &Page, plans: &[&Plan]) -> String {
    match plans.iter().filter(|p| p.kind != PlanKind::Trial).min_by_key(|p| p.price_fen) {
        Some(plan) => page.t2("price-from", "price", page.money(&plan.price_fen), "unit", page.tk("plan-note-", plan.kind)),
        None if plans.is_empty() => page.t("price-none"),
        None => page.t("price-trial-only"),
    }
}

/// An alarm's text as a reader of the listing understands it: words in brackets where a node puts place, finding and figures.
pub fn alarm_text(page: &Page, manifest: &AppManifest, text: &str) -> String {
    let items = manifest.pipeline.post.iter().flat_map(|post| match post {
        Post::Values(values) => values.items.as_slice(),
        Post::Classes(_) | Post::Boxes(_) | Post::Grid(_) => &[],
    });
    let items: Vec<_> = items.collect();
    let value =
        |id: &str| items.iter().find(|item| item.id == id).map_or_else(|| id.to_owned(), |item| item.text.get(page.lang).to_owned());
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
            _ => out.push_str(name),
        }
        rest = after;
    }
    out + rest
}

/// The word of an alarm's level.
pub fn alarm_level(level: AlarmLevel) -> &'static str {
    match level {
        AlarmLevel::Notice => "notice",
        AlarmLevel::Warning => "warning",
        AlarmLevel::Critical => "critical",
    }
}

/// A specialty on the seam map.
pub struct SpecialtyCount {
    pub slug: String,
    pub name: String,
    pub count: i64,
    pub selected: bool,
}

/// `/`.
#[derive(Template)]
#[template(path = "catalog/home.html")]
pub struct HomePage {
    pub page: Page,
    pub specialties: Vec<SpecialtyCount>,
    pub newest: Vec<AppCard>,
    pub deployed: Vec<AppCard>,
    pub figures: (i64, i64, i64, i64),
}

/// One value of a facet.
pub struct FacetValue {
    pub value: String,
    pub name: String,
    pub count: i64,
    pub selected: bool,
}

/// One facet.
pub struct Facet {
    pub name: &'static str,
    pub title: String,
    pub values: Vec<FacetValue>,
}

impl Facet {
    /// Whether a value is chosen.
    pub fn chosen(&self) -> bool {
        self.values.iter().any(|v| v.selected)
    }
}

/// `/apps`.
#[derive(Template)]
#[template(path = "catalog/catalogue.html")]
pub struct CataloguePage {
    pub page: Page,
    pub query: CatalogQuery,
    pub specialties: Vec<SpecialtyCount>,
    pub facets: Vec<Facet>,
    pub cards: Vec<AppCard>,
    pub total: i64,
    /// How many of the first apps can be put side by side, and where.
    pub compare: Option<(usize, String)>,
    pub next: Option<String>,
}

/// A plan as shown.
pub struct PlanCard {
    pub id: String,
    pub kind: PlanKind,
    pub price: String,
    pub note: String,
    pub terms: String,
    /// It is a trial that the reader's organisation has had.
    pub used: bool,
}

/// A plan in words; `trial_used`: the reader's organisation has had its trial.
pub fn plan_card(page: &Page, plan: &Plan, trial_used: bool) -> PlanCard {
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

/// A release in the list of versions.
pub struct VersionRow {
    pub version: String,
    pub date: String,
    pub changes: String,
    pub digest: String,
    pub state: ReleaseState,
    pub channel: Channel,
    /// What is said of a deprecated version: message and successor.
    pub deprecation: Option<(String, Option<String>)>,
}

/// A figure of the model card.
pub struct MetricRow {
    pub name: String,
    pub value: String,
    pub baseline: String,
    pub dataset: String,
}

/// `/apps/{vendor}/{app}`.
#[derive(Template)]
#[template(path = "catalog/listing.html")]
pub struct ListingPage {
    pub page: Page,
    pub href: String,
    /// Where it stands beside others; none where it is not listed.
    pub compare: Option<String>,
    pub summary: String,
    pub vendor: String,
    pub vendor_href: String,
    pub specialty: String,
    pub specialty_slug: String,
    pub scenario: String,
    pub input: String,
    pub safety: bool,
    pub license: String,
    pub preview: bool,
    pub hidden: bool,
    pub chain: Vec<ChainLink>,
    pub gallery: Vec<(String, String)>,
    pub paragraphs: Vec<String>,
    pub plans: Vec<PlanCard>,
    pub may_order: bool,
    pub report: ReportView,
    /// What differs from the version before.
    pub comparison: Option<ComparisonView>,
    pub scores: Vec<ScoreView>,
    pub version: String,
    pub digest: String,
    pub architectures: String,
    pub memory: String,
    pub cpu: String,
    pub metrics: Vec<MetricRow>,
    pub training: String,
    pub limits: String,
    pub parameters: Vec<(String, String, String)>,
    pub alarms: Vec<(&'static str, String)>,
    pub versions: Vec<VersionRow>,
    /// The shown version is deprecated: message and successor.
    pub deprecation: Option<(String, Option<String>)>,
    pub trust: TrustView,
}

impl ListingPage {
    /// As a reader sees it; `trial_used`: the reader's organisation has had its trial.
    pub fn of(page: Page, actor: &Actor, found: &Listing, evidence: &Evidence, trial_used: bool) -> Self {
        let (app, manifest) = (&found.app, &found.release.manifest);
        let lang = page.lang;
        let (vendor_id, vendor_slug, vendor_zh, vendor_en) = &found.vendor;
        let readable = actor.organization_id() == Some(vendor_id.as_str()) || policy::require(actor, Action::ViewCases).is_ok();
        let href = format!("/apps/{vendor_slug}/{}", app.slug);
        let may_order = match actor {
            Actor::Anonymous => true,
            Actor::Person(p, _) => policy::permits(p.kind, p.role, Action::PlaceOrders),
            _ => false,
        };
        let paragraph = |text: &str| text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()).map(ToOwned::to_owned).collect::<Vec<_>>();
        Self {
            summary: manifest.summary.get(lang).to_owned(),
            vendor: page.pick(vendor_zh, vendor_en).to_owned(),
            vendor_href: format!("/vendors/{vendor_slug}"),
            specialty: page.pick(&found.words.0.0, &found.words.0.1).to_owned(),
            specialty_slug: app.specialty.clone(),
            scenario: page.pick(&found.words.1.0, &found.words.1.1).to_owned(),
            input: page.tk("input-", manifest.input.as_str()),
            safety: manifest.safety,
            license: manifest.license.clone(),
            preview: found.preview,
            hidden: app.state != ListingState::Listed,
            compare: (app.state == ListingState::Listed).then(|| compare::address([(vendor_slug.as_str(), app.slug.as_str())])),
            chain: found.chain.clone(),
            gallery: found
                .gallery
                .iter()
                .map(|(d, alt)| (format!("/media/{vendor_slug}/{}/{d}", app.slug), alt.get(lang).to_owned()))
                .collect(),
            paragraphs: paragraph(manifest.description.get(lang)),
            plans: found.plans.iter().map(|p| plan_card(&page, p, trial_used)).collect(),
            may_order: may_order && app.state == ListingState::Listed && !found.preview && found.release.state == ReleaseState::Published,
            report: ReportView::of(&page, manifest, found.report.as_ref(), false),
            comparison: found.previous.as_ref().map(|(from, d)| ComparisonView::of(&page, from, &found.release.version, d)),
            deprecation: deprecation(&page, &found.release),
            scores: found.scores.iter().map(|score| ScoreView::of(&page, score)).collect(),
            version: found.release.version.clone(),
            digest: found.release.digest.clone(),
            architectures: manifest.resources.architectures.join(", "),
            memory: bytes(&page, u64::from(manifest.resources.memory_mib) << 20),
            cpu: manifest.resources.cpu.to_string(),
            metrics: manifest
                .card
                .metrics
                .iter()
                .map(|m| MetricRow {
                    name: m.name.clone(),
                    value: figure(m.value),
                    baseline: figure(m.baseline),
                    dataset: m.dataset.get(lang).to_owned(),
                })
                .collect(),
            training: manifest.card.training_data.get(lang).to_owned(),
            limits: manifest.card.limits.get(lang).to_owned(),
            parameters: manifest
                .parameters
                .iter()
                .map(|p| (p.title.get(lang).to_owned(), p.default.to_string(), p.help.get(lang).to_owned()))
                .collect(),
            alarms: manifest
                .pipeline
                .alarms
                .iter()
                .map(|a| (alarm_level(a.level), alarm_text(&page, manifest, a.text.get(lang))))
                .collect(),
            versions: found
                .releases
                .iter()
                .map(|r| VersionRow {
                    version: r.version.clone(),
                    date: r.published_at.map(|at| page.date(&at)).unwrap_or_default(),
                    changes: r.manifest.changes.get(lang).to_owned(),
                    digest: r.digest.chars().take(19).collect(),
                    state: r.state,
                    channel: r.channel,
                    deprecation: deprecation(&page, r),
                })
                .collect(),
            trust: TrustView::of(&page, &format!("{vendor_slug}/{}", app.slug), readable, evidence),
            href,
            page,
        }
    }
}

/// What the vendor says of a deprecated version, and its successor.
fn deprecation(page: &Page, release: &Release) -> Option<(String, Option<String>)> {
    release.deprecation.as_ref().map(|d| (d.message.get(page.lang).to_owned(), d.successor.clone()))
}

/// `/vendors/{slug}`.
#[derive(Template)]
#[template(path = "catalog/vendor.html")]
pub struct VendorPage {
    pub page: Page,
    pub slug: String,
    pub since: String,
    pub cards: Vec<AppCard>,
}

/// `/vendor/apps/{slug}/plans`.
#[derive(Template)]
#[template(path = "catalog/plans.html")]
pub struct PlansPage {
    pub page: Page,
    pub slug: String,
    pub app: String,
    pub plans: Vec<PlanCard>,
    pub form: PlanForm,
    pub errors: FormErrors,
}
