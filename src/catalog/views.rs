//! Pages of the catalogue.

use app_package::manifest::{AppManifest, Post};
use askama::Template;
use inference::check::RunCard;

use super::model::{Plan, PlanKind};
use super::plans::PlanForm;
use super::query::CatalogQuery;
use super::store::Card;
use crate::chain::ChainLink;
use crate::evaluation::views::ScoreView;
use crate::http::page::{FormErrors, Page};

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

/// Share of labelled samples whose finding is right. None where the app gives values only: there is no right or wrong to count.
pub fn share_right(manifest: &AppManifest, card: &RunCard) -> Option<String> {
    let finds = manifest.pipeline.post.iter().any(|post| !matches!(post, Post::Values(_)));
    card.accuracy.filter(|_| finds).map(|share| format!("{:.1} %", share * 100.0))
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

/// A release in the list of versions.
pub struct VersionRow {
    pub version: String,
    pub date: String,
    pub changes: String,
    pub digest: String,
    pub state: String,
}

/// A figure of the model card.
pub struct MetricRow {
    pub name: String,
    pub value: String,
    pub baseline: String,
    pub dataset: String,
}

/// The run card in words.
pub struct RunCardView {
    pub accuracy: Option<String>,
    pub golden: String,
    pub median: String,
    pub p95: String,
    pub memory: String,
    pub load: String,
    pub size: String,
    pub engine: String,
    pub hardware: String,
    pub input: String,
    pub plot: String,
}

/// `/apps/{vendor}/{app}`.
#[derive(Template)]
#[template(path = "catalog/listing.html")]
pub struct ListingPage {
    pub page: Page,
    pub href: String,
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
    pub run_card: Option<RunCardView>,
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
    pub alarms: Vec<(String, String)>,
    pub versions: Vec<VersionRow>,
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
