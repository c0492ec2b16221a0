//! /duty/report: what one shift hands over to the next, to print and to sign.

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use super::row::Row;
use crate::alarm_management::board;
use crate::alarm_management::model::{Filter, Shift, Show, Verdict};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::page::{Page, PageResult};
use crate::telemetry::model::Level;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/duty/report", web::get().to(report));
}

/// Most alarms of one list of the sheet; it says where there are more.
const MOST: i64 = 300;

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    shift: String,
}

async fn report(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Wanted>) -> PageResult {
    let (page, now) = (Page::of(&req, "duty-report-title"), app.clock.now());
    let is_last = query.shift == "last";
    let shift = if is_last { Shift::at(now).before() } else { Shift::at(now) };
    let of = |filter: Filter| board::list(&app, &actor, filter, None, MOST + 1);
    let mut raised = of(Filter { show: Show::History, from: Some(shift.from), to: Some(shift.to), ..Filter::default() }).await?;
    let is_cut = cut(&mut raised);
    let mut open = of(Filter::default()).await?;
    let is_open_cut = cut(&mut open);
    let suppressions = board::summary(&app, &actor).await?.suppressions;
    let rows = |listed: &board::Listed| listed.iter().map(|(entry, _)| Row::of(&page, entry)).collect::<Vec<_>>();
    let raised = rows(&raised);
    // Of what is cut there may be more.
    let counted = |n: usize| if is_cut { format!("{n}+") } else { n.to_string() };
    let count = |fits: &dyn Fn(&Row) -> bool| counted(raised.iter().filter(|row| fits(row)).count());
    let view = ReportPage {
        shift: page.tk("duty-shift-", shift.number),
        from: page.moment(&shift.from),
        to: page.moment(&shift.to),
        made: page.moment(&now),
        figures: [
            ("duty-report-raised", counted(raised.len())),
            ("telemetry-level-critical", count(&|row| row.level == Level::Critical)),
            ("telemetry-level-warning", count(&|row| row.level == Level::Warning)),
            // A notice needs no answer.
            ("duty-report-unanswered", count(&|row| row.calls() && row.level != Level::Notice)),
            ("duty-report-false", count(&|row| row.verdict == Some(Verdict::False))),
        ]
        .map(|(key, n)| (page.t(key), n))
        .to_vec(),
        suppressed: suppressions
            .iter()
            .map(|s| {
                let until = s.ends_at.map(|at| page.moment(&at)).unwrap_or_default();
                (page.tk("duty-state-", s.kind), s.rule.clone(), s.reason.clone(), s.made_by.clone(), until)
            })
            .collect(),
        open: rows(&open),
        raised,
        is_cut,
        is_open_cut,
        is_last,
        page,
    };
    view.page.clone().render(&view)
}

/// Cuts a list that was read as one more than [`MOST`]; whether there were more.
fn cut(listed: &mut board::Listed) -> bool {
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let is_cut = listed.len() > most;
    listed.truncate(most);
    is_cut
}

/// `/duty/report`.
#[derive(Template)]
#[template(path = "duty/report.html")]
pub struct ReportPage {
    pub page: Page,
    /// Name of the shift, its begin and its end.
    pub shift: String,
    pub from: String,
    pub to: String,
    pub made: String,
    /// Word and count.
    pub figures: Vec<(String, String)>,
    /// What is open at this moment: what calls, then what is acknowledged and present.
    pub open: Vec<Row>,
    /// Kind, rule, reason, person, end.
    pub suppressed: Vec<(String, String, String, String, String)>,
    /// What was raised in the shift.
    pub raised: Vec<Row>,
    pub is_cut: bool,
    pub is_open_cut: bool,
    pub is_last: bool,
}
