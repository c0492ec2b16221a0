//! /compare: up to four apps side by side.

use std::collections::HashMap;

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use app_package::manifest::Provider;
use askama::Template;
use inference::check::{CheckReport, RunCard};

use crate::base::app::App;
use crate::base::db::Conn;
use crate::base::error::Result;
use crate::catalog::model::{AppRow, Card, PlanKind, PricePlan, Scenario};
use crate::catalog::query::CatalogQuery;
use crate::evaluation::service::Outcomes;
use crate::http::page::{Page, PageResult};
use crate::release::difference::{Measure, measure, same_place};
use crate::release::model::{Channel, Release, ReleaseState};
use crate::site::parts::card::plan_card;
use crate::site::parts::plot::{self, Plot, Series};
use crate::site::parts::report::{OnProvider, bytes, hardware, is_uncertain, measured};
use crate::site::parts::scores::{figure, own_share, reason};
use crate::{catalog, evaluation, release};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/compare", web::get().to(compare));
}

/// `/compare`. The page cache does not keep it: there are more sets of four apps than it has room for.
pub async fn compare(req: HttpRequest, app: Data<App>, query: Query<Vec<(String, String)>>) -> PageResult {
    let (wanted, cut) = wanted(query.into_inner());
    let n = wanted.len();
    let found = read_comparison(&app, wanted).await?;
    let page = Page::of(&req, "compare-title");
    page.clone().render(&ComparePage::of(page, &found, n, cut))
}

/// Apps on one page at the most: more columns cannot be read.
pub const MAX: usize = 4;

/// Apps that are offered to be added.
const MAX_OFFERED: usize = 12;

/// Longest slug of an organisation or app that is looked up.
const MAX_SLUG: usize = 64;

fn is_slug(text: &str) -> bool {
    (1..=MAX_SLUG).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

/// Slugs of vendor and app.
pub type Address = (String, String);

/// Apps that an address asks for: the values of `app` (`vendor/app`), each once, [`MAX`] at the most; and whether more were named.
/// Malformed values stay as one entry without slugs, which the page counts as missing.
pub fn wanted(pairs: Vec<(String, String)>) -> (Vec<Address>, bool) {
    let mut wanted: Vec<Address> = Vec::new();
    for value in pairs.into_iter().filter(|(name, _)| name == "app").map(|(_, value)| value) {
        let slugs = value.split_once('/').filter(|(vendor, app)| is_slug(vendor) && is_slug(app));
        let address = slugs.map(|(vendor, app)| (vendor.to_owned(), app.to_owned())).unwrap_or_default();
        if wanted.contains(&address) {
            continue;
        }
        if wanted.len() == MAX {
            return (wanted, true);
        }
        wanted.push(address);
    }
    (wanted, false)
}

/// Address of the comparison of some apps.
pub fn address<'a>(apps: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query: Vec<String> = apps.into_iter().map(|(vendor, app)| format!("app={vendor}/{app}")).collect();
    if query.is_empty() { "/compare".into() } else { format!("/compare?{}", query.join("&")) }
}

/// One app of a comparison.
#[derive(Debug)]
pub struct Compared {
    /// The app and its vendor.
    pub card: Card,
    /// The release that its listing shows.
    pub release: Release,
    /// That release's check report.
    pub report: Option<CheckReport>,
}

/// The data of the page.
#[derive(Debug)]
pub struct Comparison {
    /// The apps, in the order of the address.
    pub apps: Vec<Compared>,
    /// Active plans of these apps.
    pub plans: Vec<PricePlan>,
    /// Hidden test sets on which any of these apps was tried, with each app's outcome.
    pub sets: Vec<Outcomes>,
    /// Apps to add, where there is room: of the first app's scenario, or else its specialty, or else its kind of input.
    pub offered: Vec<Card>,
    /// All scenarios.
    pub scenarios: Vec<Scenario>,
}

/// Reads apps to be shown side by side; those that are not listed are left out. Open to everyone.
pub async fn read_comparison(app: &App, wanted: Vec<Address>) -> Result<Comparison> {
    app.db
        .read(move |conn| {
            let cards = catalog::service::cards_at(conn, &wanted)?;
            let ids: Vec<&str> = cards.iter().map(|card| card.app.id.as_str()).collect();
            let plans = catalog::service::plans_of(conn, &ids)?;
            let releases: Vec<&str> = cards.iter().filter_map(|card| card.app.release_id.as_deref()).collect();
            let sets = evaluation::service::outcomes_of(conn, &releases)?;
            let mut reports = release::service::check_reports(conn, &releases)?;
            let mut releases: HashMap<String, Release> =
                release::service::get_all(conn, &releases)?.into_iter().map(|r| (r.id.clone(), r)).collect();
            let offered = match cards.first() {
                Some(first) if cards.len() < MAX => offered(conn, &first.app, &ids)?,
                _ => Vec::new(),
            };
            let of = |card: Card| {
                let release = releases.remove(card.app.release_id.as_deref()?)?;
                let report = reports.remove(&release.id);
                Some(Compared { card, release, report })
            };
            let apps = cards.into_iter().filter_map(of).collect();
            Ok(Comparison { apps, plans, sets, offered, scenarios: catalog::service::scenarios(conn)? })
        })
        .await
}

fn offered(conn: &mut Conn, first: &AppRow, shown: &[&str]) -> Result<Vec<Card>> {
    let all = CatalogQuery::default();
    for query in [
        CatalogQuery { scenario: first.scenario.clone(), ..all.clone() },
        CatalogQuery { specialty: first.specialty.clone(), ..all.clone() },
        CatalogQuery { input: first.input.clone(), ..all },
    ] {
        let (mut cards, _) = catalog::service::list_cards(conn, &query)?;
        cards.retain(|card| !shown.contains(&card.app.id.as_str()));
        cards.truncate(MAX_OFFERED);
        if !cards.is_empty() {
            return Ok(cards);
        }
    }
    Ok(Vec::new())
}

/// Text of a cell without a figure.
const NONE: &str = "–";

/// An app at the head of its column.
pub struct Column {
    pub href: String,
    pub name: String,
    pub vendor: String,
    /// Value of `app` in the address.
    pub value: String,
    /// The page without this app.
    pub without: String,
}

/// The value of one app in a row.
#[derive(Debug, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    /// No other app of the page has a better value.
    pub best: bool,
}

/// One figure of all apps.
pub struct ComparisonRow {
    pub title: String,
    pub cells: Vec<Cell>,
}

impl ComparisonRow {
    fn plain(title: String, cells: impl Iterator<Item = String>) -> Self {
        let cell = |text: String| Cell { text: if text.is_empty() { NONE.into() } else { text }, best: false };
        Self { title, cells: cells.map(cell).collect() }
    }
}

/// Rows under one heading.
pub struct Group {
    pub title: String,
    pub rows: Vec<ComparisonRow>,
}

/// An app that can be added.
pub struct OfferedApp {
    pub value: String,
    pub name: String,
    pub vendor: String,
}

/// `/compare`.
#[derive(Template)]
#[template(path = "market/compare.html")]
pub struct ComparePage {
    pub page: Page,
    pub columns: Vec<Column>,
    pub groups: Vec<Group>,
    /// Times; none where they cannot be compared.
    pub plot: Option<Plot>,
    /// The apps were measured in different places, so times cannot be compared.
    pub elsewhere: bool,
    pub offered: Vec<OfferedApp>,
    /// Apps that were asked for and are not listed.
    pub missing: usize,
    /// More were asked for than are shown.
    pub cut: bool,
    pub max: usize,
}

impl ComparePage {
    /// In the page's language; `wanted` is how many apps were asked for, `cut` whether more were.
    pub fn of(page: Page, found: &Comparison, wanted: usize, cut: bool) -> Self {
        let apps = found.apps.as_slice();
        let cards: Vec<&RunCard> = apps.iter().filter_map(run_card).collect();
        let one_place = cards.windows(2).all(|pair| matches!(pair, [a, b] if same_place(a, b)));
        let slugs = |app: &Compared| (app.card.vendor.slug.clone(), app.card.app.slug.clone());
        let column = |app: &Compared| {
            let others: Vec<_> = apps.iter().filter(|other| other.card.app.id != app.card.app.id).map(slugs).collect();
            let (vendor, slug) = slugs(app);
            Column {
                href: format!("/apps/{vendor}/{slug}"),
                name: page.pick(&app.card.app.title_zh, &app.card.app.title_en).to_owned(),
                vendor: page.name(&app.card.vendor.name).to_owned(),
                value: format!("{vendor}/{slug}"),
                without: address(others.iter().map(|(vendor, slug)| (vendor.as_str(), slug.as_str()))),
            }
        };
        let offer = |Card { app, vendor }: &Card| OfferedApp {
            value: format!("{}/{}", vendor.slug, app.slug),
            name: page.pick(&app.title_zh, &app.title_en).to_owned(),
            vendor: page.name(&vendor.name).to_owned(),
        };
        let groups =
            [offers(&page, found), scores(&page, apps, &found.sets), figures(&page, apps), providers(&page, apps), needs(&page, apps)];
        Self {
            columns: apps.iter().map(column).collect(),
            groups: groups.into_iter().filter(|group| !group.rows.is_empty()).collect(),
            plot: if one_place && cards.len() > 1 { plot(&page, apps) } else { None },
            elsewhere: !one_place,
            offered: found.offered.iter().map(offer).collect(),
            missing: wanted.saturating_sub(apps.len()),
            cut,
            max: MAX,
            page,
        }
    }
}

fn run_card(app: &Compared) -> Option<&RunCard> {
    app.report.as_ref().and_then(|report| report.run_card.as_ref())
}

pub fn offers(page: &Page, found: &Comparison) -> Group {
    let apps = found.apps.as_slice();
    let scenario = |app: &Compared| {
        let name = |scenario: &Scenario| page.name(&scenario.name).to_owned();
        found.scenarios.iter().find(|s| s.slug == app.card.app.scenario).map(name).unwrap_or_default()
    };
    let price = |app: &Compared, kind: PlanKind| {
        let mut plans: Vec<&PricePlan> = found.plans.iter().filter(|plan| plan.app_id == app.card.app.id && plan.kind == kind).collect();
        plans.sort_by_key(|plan| plan.price_fen);
        if kind == PlanKind::Trial {
            return plans.iter().map(|plan| plan_card(page, plan, false).terms).collect::<Vec<_>>().join("; ");
        }
        let least = plans.first().map(|plan| page.money(&plan.price_fen)).unwrap_or_default();
        if plans.len() > 1 { page.t1("compare-from", "price", least) } else { least }
    };
    let version = |app: &Compared| {
        let release = &app.release;
        let beta = (release.channel == Channel::Beta).then(|| page.t("channel-beta"));
        let over = matches!(release.state, ReleaseState::Deprecated | ReleaseState::Recalled).then(|| page.tk("state-", release.state));
        let day = release.published_at.map(|at| page.date(&at));
        [Some(release.version.clone()), day, beta, over].into_iter().flatten().collect::<Vec<_>>().join(" · ")
    };
    let mut rows = vec![
        ComparisonRow::plain(page.t("facet-scenario"), apps.iter().map(scenario)),
        ComparisonRow::plain(page.t("facet-input"), apps.iter().map(|app| page.tk("input-", app.release.manifest.input.as_str()))),
        ComparisonRow::plain(page.t("compare-safety"), apps.iter().map(|app| page.tk("compare-safety-", app.release.manifest.safety))),
    ];
    for kind in PlanKind::ALL {
        let title = if *kind == PlanKind::Trial {
            page.t("plan-trial")
        } else {
            page.t2("compare-price", "plan", page.tk("plan-", kind), "unit", page.tk("plan-note-", kind))
        };
        rows.push(ComparisonRow::plain(title, apps.iter().map(|app| price(app, *kind))));
    }
    rows.push(ComparisonRow::plain(page.t("release-version"), apps.iter().map(version)));
    Group { title: page.t("compare-offer"), rows }
}

fn figures(page: &Page, apps: &[Compared]) -> Group {
    if apps.iter().all(|app| run_card(app).is_none()) {
        return Group { title: String::new(), rows: Vec::new() };
    }
    let figure = |app: &Compared, kind: Measure| {
        let found = run_card(app).and_then(|card| Some((card, measure(kind, &app.release.manifest, card)?)));
        found.map(|(card, value)| match kind {
            Measure::Accuracy => own_share(page, &app.release.manifest, value),
            _ => timed(page, kind, value, card),
        })
    };
    let figure = |app: &Compared, kind: Measure| figure(app, kind).unwrap_or_default();
    let row = |kind: &Measure| ComparisonRow::plain(page.tk("measure-", kind), apps.iter().map(|app| figure(app, *kind)));
    let mut rows: Vec<ComparisonRow> = Measure::ALL.iter().map(row).collect();
    let card = |app: &Compared, tell: fn(&Page, &RunCard) -> String| run_card(app).map(|card| tell(page, card)).unwrap_or_default();
    let engine = |_: &Page, card: &RunCard| format!("{} {}", card.engine, card.engine_version);
    rows.push(ComparisonRow::plain(page.t("card-engine"), apps.iter().map(|app| card(app, engine))));
    rows.push(ComparisonRow::plain(page.t("card-hardware"), apps.iter().map(|app| card(app, hardware))));
    Group { title: page.t("card-title"), rows }
}

/// What was found on the execution providers that any of the apps names. What serves where none does, the CPU, is in the figures.
fn providers(page: &Page, apps: &[Compared]) -> Group {
    let column = |app: &Compared, provider: Provider| {
        let found = run_card(app)?.providers.iter().find(|column| column.provider == provider)?;
        Some(OnProvider::of(page, found))
    };
    let rows = Provider::NAMED.into_iter().flat_map(|provider| {
        let found: Vec<Option<OnProvider>> = apps.iter().map(|app| column(app, provider)).collect();
        let name = page.tk("provider-", provider.as_str());
        let row = |key: &str, of: &dyn Fn(&OnProvider) -> String| {
            let cell = |on: &Option<OnProvider>| on.as_ref().map(of).unwrap_or_default();
            ComparisonRow::plain(page.t2("compare-provider", "provider", &name, "figure", page.tk("card-", key)), found.iter().map(cell))
        };
        let rows = [
            row("provider-verdict", &|on| on.verdict.clone()),
            row("version", &|on| on.version.clone()),
            row("precision", &|on| on.precision.clone()),
            row("median", &|on| on.median.clone()),
            row("p95", &|on| on.p95.clone()),
        ];
        // Of a provider that was not tried only the verdict says anything.
        rows.into_iter().filter(|row| row.cells.iter().any(|cell| cell.text != NONE)).collect::<Vec<_>>()
    });
    Group { title: page.t("card-providers"), rows: rows.collect() }
}

/// A figure with its unit, and whether it is uncertain.
fn timed(page: &Page, kind: Measure, value: f64, card: &RunCard) -> String {
    let text = measured(page, kind, value, card.latency_ms.is_per_frame());
    let time = matches!(kind, Measure::Median | Measure::P95 | Measure::P99 | Measure::Throughput);
    if time && is_uncertain(&card.latency_ms) { format!("{text} · {}", page.t("card-uncertain")) } else { text }
}

fn scores(page: &Page, apps: &[Compared], sets: &[Outcomes]) -> Group {
    let row = |outcomes: &Outcomes| {
        let set = &outcomes.set;
        let score = |app: &Compared| outcomes.scores.iter().find(|score| score.release_id == app.release.id);
        let told = |app: &Compared| score(app)?.value.map(|value| (value, figure(set.metric, value, &set.unit)));
        let mut cells = cells(apps.iter().map(told).collect(), set.metric.engine().higher_is_better());
        for (cell, app) in cells.iter_mut().zip(apps) {
            if let Some(code) = score(app).and_then(|score| score.reason.as_deref()) {
                cell.text = reason(page, code);
            }
        }
        let name = page.t2("evaluation-line", "name", page.pick(&set.name_zh, &set.name_en), "n", set.samples);
        ComparisonRow { title: page.t2("compare-score", "set", name, "metric", page.tk("evaluation-metric-", set.metric)), cells }
    };
    Group { title: page.t("evaluation-card-title"), rows: sets.iter().map(row).collect() }
}

fn needs(page: &Page, apps: &[Compared]) -> Group {
    let of = |tell: &dyn Fn(&Compared) -> String| apps.iter().map(tell).collect::<Vec<_>>().into_iter();
    let memory = |app: &Compared| bytes(page, u64::from(app.release.manifest.resources.memory_mib) << 20);
    let rows = vec![
        ComparisonRow::plain(page.t("need-architectures"), of(&|app| app.release.manifest.resources.architectures.join(", "))),
        ComparisonRow::plain(page.t("need-cpu"), of(&|app| app.release.manifest.resources.cpu.to_string())),
        ComparisonRow::plain(page.t("need-memory"), of(&memory)),
        ComparisonRow::plain(page.t("listing-license"), of(&|app| app.release.manifest.license.clone())),
    ];
    Group { title: page.t("listing-needs"), rows }
}

/// Cells of values with their texts; marks the best where the texts differ.
fn cells(values: Vec<Option<(f64, String)>>, higher_is_better: bool) -> Vec<Cell> {
    let known: Vec<&(f64, String)> = values.iter().flatten().collect();
    let alike = known.windows(2).all(|pair| matches!(pair, [a, b] if a.1 == b.1));
    let order = |a: &&&(f64, String), b: &&&(f64, String)| if higher_is_better { a.0.total_cmp(&b.0) } else { b.0.total_cmp(&a.0) };
    let best = known.iter().max_by(order).filter(|_| !alike).map(|(_, text)| text.clone());
    let cell = |value: Option<(f64, String)>| match value {
        Some((_, text)) => Cell { best: best.as_ref() == Some(&text), text },
        None => Cell { text: NONE.into(), best: false },
    };
    values.into_iter().map(cell).collect()
}

/// Median and 95th percentile of each app.
fn plot(page: &Page, apps: &[Compared]) -> Option<Plot> {
    let measured: Vec<(&Compared, &RunCard)> = apps.iter().filter_map(|app| Some((app, run_card(app)?))).collect();
    let series = |kind: Measure, tone: &'static str, of: fn(&RunCard) -> f64| Series {
        name: page.tk("measure-", kind),
        tone,
        values: measured.iter().map(|(_, card)| (of(card), timed(page, kind, of(card), card))).collect(),
    };
    let title = |compared: &Compared| page.pick(&compared.card.app.title_zh, &compared.card.app.title_en).to_owned();
    let name = |(app, _): &(&Compared, &RunCard)| {
        let own = title(app);
        let alike = measured.iter().filter(|(other, _)| title(other) == own).count() > 1;
        if alike { format!("{own} · {}", page.name(&app.card.vendor.name)) } else { own }
    };
    let groups: Vec<String> = measured.iter().map(name).collect();
    let both = [series(Measure::Median, "steel", |card| card.latency_ms.median), series(Measure::P95, "grey", |card| card.latency_ms.p95)];
    plot::bars("plot-apps", page.t("compare-plot"), &groups, &both, &[])
}

#[cfg(test)]
mod tests;
