//! /duty/figures: how well the alarms of a mine serve those who answer them.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use chrono::TimeDelta;

use crate::alarm_management::figures::{self, Busy, DAYS, MOST, Report, ratio};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::i18n::Names;
use crate::http::page::{Page, PageResult};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/duty/figures", web::get().to(figures));
}

/// Height of the bars of days.
const BARS: f64 = 120.0;
/// Alarms of a day that a person can answer, and the most (EEMUA 191).
const A_DAY: f64 = 150.0;
const MOST_A_DAY: f64 = 300.0;

async fn figures(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let page = Page::of(&req, "duty-figures-title");
    let report = figures::report(&app, &actor).await?;
    let view = FiguresPage::of(page, &report);
    view.page.clone().render(&view)
}

/// A figure beside what it should be.
pub struct Measure {
    pub name: String,
    pub value: String,
    pub aim: String,
    /// `green`, `amber`, `red`, or empty where there is no aim.
    pub tone: &'static str,
}

/// A point that raises much.
pub struct Point {
    pub rule: String,
    pub place: String,
    pub app: String,
    pub count: usize,
    pub share: String,
    pub false_share: String,
    /// Link to its alarms; empty where it is no app's.
    pub href: String,
}

/// A day's bar.
pub struct Bar {
    pub x: usize,
    pub y: f64,
    pub height: f64,
    pub words: String,
    pub tone: &'static str,
}

/// `/duty/figures`.
#[derive(Template)]
#[template(path = "duty/figures.html")]
pub struct FiguresPage {
    pub page: Page,
    pub measures: Vec<Measure>,
    pub bars: Vec<Bar>,
    pub width: usize,
    pub busiest: Vec<Point>,
    pub chattering: Vec<Point>,
    pub is_cut: bool,
    pub most: i64,
    pub days: i64,
}

impl FiguresPage {
    fn of(page: Page, report: &Report) -> Self {
        let f = &report.figures;
        let graded = |value: f64, good: f64, most: f64| {
            if value <= good {
                "green"
            } else if value <= most {
                "amber"
            } else {
                "red"
            }
        };
        let measure = |key: &str, value: String, aim: &str, tone: &'static str| Measure {
            name: page.t(key),
            value,
            aim: aim.to_owned(),
            tone: if f.count == 0 { "" } else { tone },
        };
        let time = |time: Option<TimeDelta>| time.map_or_else(|| "–".to_owned(), |time| duration(&page, time));
        let measures = vec![
            measure("duty-figures-a-day", format!("{:.1}", f.a_day), "≤ 150", graded(f.a_day, A_DAY, MOST_A_DAY)),
            measure("duty-figures-a-slot", format!("{:.2}", f.a_slot), "≤ 1", graded(f.a_slot, 1.0, 2.0)),
            measure("duty-figures-peak", f.peak.to_string(), "≤ 10", if f.peak <= 10 { "green" } else { "red" }),
            measure("duty-figures-over", format!("{:.1} %", f.over), "< 1 %", graded(f.over, 1.0, 5.0)),
            measure("duty-figures-standing", report.standing.to_string(), "< 5", if report.standing < 5 { "green" } else { "red" }),
            measure("duty-figures-chattering", f.chatter.to_string(), "0", if f.chatter == 0 { "green" } else { "amber" }),
            measure("duty-figures-critical", format!("{:.1} %", f.critical), "≈ 5 %", graded(f.critical, 5.0, 20.0)),
            measure("duty-figures-top", format!("{:.1} %", f.top), "< 5 %", graded(f.top, 5.0, 20.0)),
            measure("duty-figures-median", time(f.median), "", ""),
            measure("duty-figures-slowest", time(f.slowest), "", ""),
            measure("duty-figures-unanswered", f.unanswered.to_string(), "0", if f.unanswered == 0 { "green" } else { "amber" }),
            measure("duty-figures-false", judged(f.judged_false, f.real + f.judged_false), "", ""),
        ];
        let most = f.days.iter().map(|(_, n)| *n).max().unwrap_or(0).max(10);
        let bar = |(i, (day, n)): (usize, &(crate::base::db::Timestamp, usize))| {
            let height = BARS * ratio(*n, most);
            Bar {
                x: i * 24,
                y: BARS - height,
                height,
                words: format!("{}: {n}", page.date(day)),
                tone: if ratio(*n, 1) > MOST_A_DAY { "red" } else { "steel" },
            }
        };
        let bars: Vec<Bar> = f.days.iter().enumerate().map(bar).collect();
        let point = |busy: &Busy| {
            let blank = (String::new(), Names::default());
            let (place, app) = report.names.get(&busy.subject).unwrap_or(&blank);
            Point {
                rule: busy.rule.clone(),
                place: place.clone(),
                app: page.name(app).to_owned(),
                count: busy.count,
                share: format!("{:.1} %", 100.0 * ratio(busy.count, f.count)),
                false_share: judged(busy.judged_false, busy.judged),
                href: if busy.subject.starts_with("dep_") {
                    format!("/duty/board?show=history&deployment={}", busy.subject)
                } else {
                    String::new()
                },
            }
        };
        Self {
            width: bars.len() * 24,
            bars,
            busiest: f.busiest.iter().map(point).collect(),
            chattering: f.chattering.iter().map(point).collect(),
            is_cut: report.cut,
            most: MOST,
            days: DAYS,
            measures,
            page,
        }
    }
}

/// `3 / 10 (30 %)`; a dash where nobody has judged.
fn judged(part: usize, whole: usize) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{part} / {whole} ({:.0} %)", 100.0 * ratio(part, whole)) }
}

/// Minutes and seconds; of an hour and more hours and minutes.
fn duration(page: &Page, time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    if seconds < 3600 {
        page.t2("duty-minutes-seconds", "m", seconds / 60, "s", seconds % 60)
    } else {
        page.t2("duty-hours-minutes", "h", seconds / 3600, "m", seconds % 3600 / 60)
    }
}
