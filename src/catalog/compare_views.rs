//! The page of apps side by side.
//!
//! Invariant: a figure is called the best only where all were measured on the same input, which is so on hidden test sets alone: the run
//! card's times, memory and accuracy are those of each developer's own golden samples.

use askama::Template;
use inference::check::RunCard;
use serde_json::json;

use super::compare::{Compared, Comparison, MAX, address};
use super::model::{Plan, PlanKind};
use super::views::plan_card;
use crate::evaluation::service::Outcomes;
use crate::evaluation::views::{figure, reason};
use crate::http::page::Page;
use crate::release::difference::{Measure, measure, same_place};
use crate::release::model::{Channel, ReleaseState};
use crate::release::report::{bytes, hardware, in_script, measured};

/// What stands where there is no figure.
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

/// What one app has of a row.
#[derive(Debug, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    /// No other app of the page has better.
    pub best: bool,
}

/// One figure of all apps.
pub struct Row {
    pub title: String,
    pub cells: Vec<Cell>,
}

impl Row {
    fn plain(title: String, cells: impl Iterator<Item = String>) -> Self {
        let cell = |text: String| Cell { text: if text.is_empty() { NONE.into() } else { text }, best: false };
        Self { title, cells: cells.map(cell).collect() }
    }
}

/// Rows under one heading.
pub struct Group {
    pub title: String,
    pub rows: Vec<Row>,
}

/// An app that can be added.
pub struct Offer {
    pub value: String,
    pub name: String,
    pub vendor: String,
}

/// `/compare`.
#[derive(Template)]
#[template(path = "catalog/compare.html")]
pub struct ComparePage {
    pub page: Page,
    pub columns: Vec<Column>,
    pub groups: Vec<Group>,
    /// Data of the latency plot, safe inside a script element; empty where times cannot be compared.
    pub plot: String,
    /// Measured in different places.
    pub elsewhere: bool,
    pub offered: Vec<Offer>,
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
        let slugs = |app: &Compared| (app.card.1.0.clone(), app.card.0.slug.clone());
        let column = |app: &Compared| {
            let others: Vec<_> = apps.iter().filter(|other| other.card.0.id != app.card.0.id).map(slugs).collect();
            let (vendor, slug) = slugs(app);
            Column {
                href: format!("/apps/{vendor}/{slug}"),
                name: page.pick(&app.card.0.title_zh, &app.card.0.title_en).to_owned(),
                vendor: page.pick(&app.card.1.1, &app.card.1.2).to_owned(),
                value: format!("{vendor}/{slug}"),
                without: address(others.iter().map(|(vendor, slug)| (vendor.as_str(), slug.as_str()))),
            }
        };
        let offer = |(app, (vendor, zh, en)): &super::model::Card| Offer {
            value: format!("{vendor}/{}", app.slug),
            name: page.pick(&app.title_zh, &app.title_en).to_owned(),
            vendor: page.pick(zh, en).to_owned(),
        };
        let groups = [offers(&page, found), figures(&page, apps), scores(&page, apps, &found.sets), needs(&page, apps)];
        Self {
            columns: apps.iter().map(column).collect(),
            groups: groups.into_iter().filter(|group| !group.rows.is_empty()).collect(),
            plot: if one_place && cards.len() > 1 { plot(&page, apps) } else { String::new() },
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

fn offers(page: &Page, found: &Comparison) -> Group {
    let apps = found.apps.as_slice();
    let scenario = |app: &Compared| {
        let name = |(_, _, zh, en): &(String, String, String, String)| page.pick(zh, en).to_owned();
        found.scenarios.iter().find(|(slug, ..)| *slug == app.card.0.scenario).map(name).unwrap_or_default()
    };
    let price = |app: &Compared, kind: PlanKind| {
        let mut plans: Vec<&Plan> = found.plans.iter().filter(|plan| plan.app_id == app.card.0.id && plan.kind == kind).collect();
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
        let over = (release.state == ReleaseState::Deprecated).then(|| page.t("state-deprecated"));
        let day = release.published_at.map(|at| page.date(&at));
        [Some(release.version.clone()), day, beta, over].into_iter().flatten().collect::<Vec<_>>().join(" · ")
    };
    let mut rows = vec![
        Row::plain(page.t("facet-scenario"), apps.iter().map(scenario)),
        Row::plain(page.t("facet-input"), apps.iter().map(|app| page.tk("input-", app.release.manifest.input.as_str()))),
        Row::plain(page.t("compare-safety"), apps.iter().map(|app| page.tk("compare-safety-", app.release.manifest.safety))),
    ];
    for kind in PlanKind::ALL {
        let title = if *kind == PlanKind::Trial {
            page.t("plan-trial")
        } else {
            page.t2("compare-price", "plan", page.tk("plan-", kind), "unit", page.tk("plan-note-", kind))
        };
        rows.push(Row::plain(title, apps.iter().map(|app| price(app, *kind))));
    }
    rows.push(Row::plain(page.t("release-version"), apps.iter().map(version)));
    Group { title: page.t("compare-offer"), rows }
}

fn figures(page: &Page, apps: &[Compared]) -> Group {
    if apps.iter().all(|app| run_card(app).is_none()) {
        return Group { title: String::new(), rows: Vec::new() };
    }
    let figure = |app: &Compared, kind: Measure| {
        let value = run_card(app).and_then(|card| measure(kind, &app.release.manifest, card));
        value.map(|value| measured(page, kind, value)).unwrap_or_default()
    };
    let row = |kind: &Measure| Row::plain(page.tk("measure-", kind), apps.iter().map(|app| figure(app, *kind)));
    let mut rows: Vec<Row> = Measure::ALL.iter().map(row).collect();
    let card = |app: &Compared, tell: fn(&Page, &RunCard) -> String| run_card(app).map(|card| tell(page, card)).unwrap_or_default();
    let engine = |_: &Page, card: &RunCard| format!("{} {}", card.engine, card.engine_version);
    rows.push(Row::plain(page.t("card-engine"), apps.iter().map(|app| card(app, engine))));
    rows.push(Row::plain(page.t("card-hardware"), apps.iter().map(|app| card(app, hardware))));
    Group { title: page.t("card-title"), rows }
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
        Row { title: page.t2("compare-score", "set", name, "metric", page.tk("evaluation-metric-", set.metric)), cells }
    };
    Group { title: page.t("evaluation-card-title"), rows: sets.iter().map(row).collect() }
}

fn needs(page: &Page, apps: &[Compared]) -> Group {
    let of = |tell: &dyn Fn(&Compared) -> String| apps.iter().map(tell).collect::<Vec<_>>().into_iter();
    let memory = |app: &Compared| bytes(page, u64::from(app.release.manifest.resources.memory_mib) << 20);
    let rows = vec![
        Row::plain(page.t("need-architectures"), of(&|app| app.release.manifest.resources.architectures.join(", "))),
        Row::plain(page.t("need-cpu"), of(&|app| app.release.manifest.resources.cpu.to_string())),
        Row::plain(page.t("need-memory"), of(&memory)),
        Row::plain(page.t("listing-license"), of(&|app| app.release.manifest.license.clone())),
    ];
    Group { title: page.t("listing-needs"), rows }
}

/// Cells of values with their texts.
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
fn plot(page: &Page, apps: &[Compared]) -> String {
    let measured: Vec<(&Compared, &RunCard)> = apps.iter().filter_map(|app| Some((app, run_card(app)?))).collect();
    let series = |kind: Measure, tone: &str, of: fn(&RunCard) -> f64| {
        let data: Vec<f64> = measured.iter().map(|(_, card)| (of(card) * 1000.0).round() / 1000.0).collect();
        json!({"name": page.tk("measure-", kind), "tone": tone, "data": data})
    };
    in_script(&json!({
        "kind": "bar", "unit": "ms", "x": "category",
        // Titles may be the same.
        "categories": measured.iter().map(|(app, _)| {
            let (row, (_, zh, en)) = &app.card;
            format!("{} · {}", page.pick(&row.title_zh, &row.title_en), page.pick(zh, en))
        }).collect::<Vec<_>>(),
        "series": [
            series(Measure::Median, "steel", |card| card.latency_ms.median),
            series(Measure::P95, "grey", |card| card.latency_ms.p95),
        ],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(values: &[Option<(f64, &str)>], higher: bool) -> Vec<bool> {
        let values = values.iter().map(|v| v.map(|(n, text)| (n, text.to_owned()))).collect();
        cells(values, higher).iter().map(|cell| cell.best).collect()
    }

    #[test]
    fn the_best_is_named_only_where_figures_differ() {
        let three = [Some((1.0, "1 %")), None, Some((2.0, "2 %"))];
        assert_eq!(best(&three, false), [true, false, false]);
        assert_eq!(best(&three, true), [false, false, true]);
        // Alone, or the same as shown: nothing is better.
        assert_eq!(best(&[Some((1.0, "1 %")), None], false), [false; 2]);
        assert_eq!(best(&[Some((1.001, "1 %")), Some((1.002, "1 %"))], false), [false; 2]);
        // Two that read the same are both the best.
        assert_eq!(best(&[Some((1.001, "1 %")), Some((1.002, "1 %")), Some((3.0, "3 %"))], false), [true, true, false]);
        assert_eq!(cells(vec![None], true), [Cell { text: NONE.into(), best: false }]);
    }
}
