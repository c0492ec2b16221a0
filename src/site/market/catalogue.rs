//! /, /apps and /vendors: the front page, the catalogue, a vendor.

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Result;

use crate::catalog;
use crate::catalog::follows;
use crate::catalog::model::{Card, PricePlan, SlugName};
use crate::catalog::query::{CatalogQuery, Sort};
use crate::catalog::search;
use crate::catalog::service::{self, VendorShown};
use crate::http::page::{Page, PageResult, lang_of};
use crate::site::market::cached::cached;
use crate::site::market::compare;
use crate::site::market::known::{KnownCatalogue, Shown};
use crate::site::parts::card::{AppCard, Recalls, recalls_of};
use crate::site::parts::figures::{PlatformFigures, figures};
use crate::site::parts::scenario::{self, ScenarioLine};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.app_data(Data::new(KnownCatalogue::default()))
        .route("/", web::get().to(home))
        .route("/apps", web::get().to(catalogue))
        .route("/vendors/{slug}", web::get().to(vendor));
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
#[template(path = "market/home.html")]
pub struct HomePage {
    pub page: Page,
    pub specialties: Vec<SpecialtyCount>,
    pub newest: Vec<AppCard>,
    pub deployed: Vec<AppCard>,
    pub figures: PlatformFigures,
}

/// One value of a facet.
pub struct FacetValue {
    pub value: String,
    pub name: String,
    pub count: i64,
    pub selected: bool,
}

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
#[template(path = "market/catalogue.html")]
pub struct CataloguePage {
    pub page: Page,
    pub query: CatalogQuery,
    pub specialties: Vec<SpecialtyCount>,
    pub facets: Vec<Facet>,
    pub cards: Vec<AppCard>,
    pub total: i64,
    /// Nothing has all of the words: the apps are near.
    pub near: bool,
    /// More fit the words than were looked at: `total` is the least.
    pub cut: bool,
    /// Orders of the list, by word, with the one that it has.
    pub sorts: Vec<(Sort, bool)>,
    /// Scenarios that fit and have no app yet, and near ones that have.
    pub wanted: Vec<ScenarioLine>,
    pub beside: Vec<ScenarioLine>,
    /// Number of the first apps that can be compared, and the address of their comparison.
    pub compare: Option<(usize, String)>,
    pub next: Option<String>,
}

/// `/vendors/{slug}`.
#[derive(Template)]
#[template(path = "market/vendor.html")]
pub struct VendorPage {
    pub page: Page,
    pub slug: String,
    pub since: String,
    pub suspended: bool,
    pub cards: Vec<AppCard>,
    pub next: Option<String>,
}

async fn home(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    cached(&req, &app, &actor, async || {
        let page = Page::of(&req, "home-title");
        let found = read_home(&app).await?;
        let names: Vec<SlugName> = found.specialties.iter().map(|(specialty, _)| specialty.clone()).collect();
        let card = |c| AppCard::of(&page, c, &found.plans, &names, &found.recalls);
        let view = HomePage {
            newest: found.newest.iter().map(card).collect(),
            deployed: found.deployed.iter().map(card).collect(),
            specialties: found
                .specialties
                .into_iter()
                .map(|(s, count)| SpecialtyCount { name: page.name(&s.name).to_owned(), slug: s.slug, count, selected: false })
                .collect(),
            figures: found.figures,
            page: page.clone(),
        };
        page.render(&view)
    })
    .await
}

async fn catalogue(req: HttpRequest, app: Data<App>, known: Data<KnownCatalogue>, actor: Actor, query: Query<CatalogQuery>) -> PageResult {
    cached(&req, &app, &actor, async || {
        let query = query.into_inner().bounded();
        let page = Page::of(&req, "catalogue-title");
        let (Shown { found, recalls, offered }, followed) = if matches!(actor, Actor::Anonymous) && !query.q.is_empty() {
            (known.search(&app, &query).await?, Vec::new())
        } else {
            let (handle, asked, asker) = (app.clone(), query.clone(), actor.clone());
            let read = app.db.read(move |conn| {
                let found = service::search(conn, &handle, &asked)?;
                let recalls = recalls_of(conn, &found.cards)?;
                let offered = search::offer(&handle, &asked, &found, &search::counts_by_scenario(conn)?)?;
                let followed = if offered.wanted.is_empty() { Vec::new() } else { follows::followed(conn, &asker)? };
                Ok((Shown { found, recalls, offered }, followed))
            });
            read.await?
        };
        let (wanted, beside) = scenario::lines(&page, &offered, &followed);
        let cards = found.cards.iter().map(|c| AppCard::of(&page, c, &found.plans, &found.specialties, &recalls)).collect();
        let [by_specialty, by_scenario, by_input, by_plan] = &found.facets;
        let count = |counts: &[(String, i64)], value: &str| counts.iter().find(|(v, _)| v == value).map_or(0, |(_, n)| *n);
        let specialties = found
            .specialties
            .iter()
            .map(|SlugName { slug, name }| SpecialtyCount {
                slug: slug.clone(),
                name: page.name(name).to_owned(),
                count: count(by_specialty, slug),
                selected: query.specialty == *slug,
            })
            .collect();
        let values = |own: &str, all: Vec<(String, String)>, counts: &[(String, i64)]| -> Vec<FacetValue> {
            let all = all.into_iter().map(|(value, name)| FacetValue { count: count(counts, &value), selected: own == value, value, name });
            all.filter(|v| v.count > 0 || v.selected).collect()
        };
        let all = found.scenarios.iter().filter(|s| query.specialty.is_empty() || query.specialty == s.specialty);
        let all = all.map(|s| (s.slug.clone(), page.name(&s.name).to_owned())).collect();
        let words = |prefix: &str, words: &[&str]| words.iter().map(|w| ((*w).to_owned(), page.tk(prefix, w))).collect::<Vec<_>>();
        let facets = vec![
            Facet { name: "scenario", title: page.t("facet-scenario"), values: values(&query.scenario, all, by_scenario) },
            Facet {
                name: "input",
                title: page.t("facet-input"),
                values: values(&query.input, words("input-", &["image", "video", "timeseries", "tabular", "audio"]), by_input),
            },
            Facet {
                name: "plan",
                title: page.t("facet-plan"),
                values: values(&query.plan, words("plan-", &["subscription", "perpetual", "trial"]), by_plan),
            },
        ];
        let first = found.cards.iter().take(compare::MAX).map(|card| (card.vendor.slug.as_str(), card.app.slug.as_str()));
        let compare = (query.is_narrowed() && found.cards.len() > 1).then(|| (first.len(), compare::address(first)));
        let next = found.cards.last().filter(|_| found.more).map(|card| query.with("after", &card.app.id));
        let sorts = Sort::ALL.iter().filter(|sort| **sort != Sort::Fit || !query.q.is_empty());
        let view = CataloguePage {
            sorts: sorts.map(|sort| (*sort, *sort == query.order())).collect(),
            query,
            specialties,
            facets,
            cards,
            total: found.total,
            near: found.near,
            cut: found.cut,
            wanted,
            beside,
            compare,
            next,
            page: page.clone(),
        };
        page.render(&view)
    })
    .await
}

/// Where the page of a vendor's apps begins.
#[derive(Deserialize)]
struct After {
    /// Id of the last app of the page before.
    #[serde(default)]
    after: String,
}

async fn vendor(req: HttpRequest, app: Data<App>, actor: Actor, slug: Path<String>, query: Query<After>) -> PageResult {
    cached(&req, &app, &actor, async || {
        let (slug, after) = (slug.into_inner(), query.into_inner().after);
        let read = app.db.read(move |conn| {
            let shown = service::vendor_page(conn, &slug, &after)?;
            let suspended = account::standing::suspension(conn, &shown.vendor.id)?.is_some();
            let (specialties, recalls) = (catalog::service::specialties(conn)?, recalls_of(conn, &shown.cards)?);
            Ok((shown, specialties, recalls, suspended))
        });
        let (VendorShown { vendor, cards, plans, more }, specialties, recalls, suspended) = read.await?;
        let next = cards.last().filter(|_| more).map(|card| format!("/vendors/{}?after={}", vendor.slug, card.app.id));
        let page = Page::of(&req, lang_of(&req).pick(&vendor.name_zh, &vendor.name_en));
        let cards = cards.iter().map(|c| AppCard::of(&page, c, &plans, &specialties, &recalls)).collect();
        page.render(&VendorPage { since: page.date(&vendor.created_at), slug: vendor.slug, suspended, cards, next, page: page.clone() })
    })
    .await
}

/// The data of the home page.
#[derive(Debug)]
pub struct Home {
    /// Newest listings.
    pub newest: Vec<Card>,
    /// Most deployed listings.
    pub deployed: Vec<Card>,
    /// Plans of these listings.
    pub plans: Vec<PricePlan>,
    /// Versions that these listings show and that are recalled.
    pub recalls: Recalls,
    /// Specialties with their number of listings.
    pub specialties: Vec<(SlugName, i64)>,
    pub figures: PlatformFigures,
}

/// Reads the home page's data.
async fn read_home(app: &App) -> Result<Home> {
    let now = app.clock.now();
    app.db
        .read(move |conn| {
            let (mut newest, _) = catalog::service::list_cards(conn, &CatalogQuery::default())?;
            newest.truncate(8);
            let (mut deployed, _) =
                catalog::service::list_cards(conn, &CatalogQuery { sort: "deployed".into(), ..CatalogQuery::default() })?;
            deployed.retain(|card| card.app.deployments > 0);
            deployed.truncate(4);
            let ids: Vec<&str> = newest.iter().chain(&deployed).map(|card| card.app.id.as_str()).collect();
            let plans = catalog::service::plans_of(conn, &ids)?;
            let recalls = recalls_of(conn, newest.iter().chain(&deployed))?;
            let counts = catalog::service::counts_by_specialty(conn)?;
            let specialties = catalog::service::specialties(conn)?
                .into_iter()
                .map(|specialty| {
                    let n = counts.iter().find(|(s, _)| *s == specialty.slug).map_or(0, |(_, n)| *n);
                    (specialty, n)
                })
                .collect();
            Ok(Home { newest, deployed, plans, recalls, specialties, figures: figures(conn, now)? })
        })
        .await
}
