//! What of a mine waits for the person who looks: only what their role may do something about, the most urgent first.

use super::today::{EndingItem, Overview};
use crate::alarm_management::board::up_to;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::http::page::Page;

/// What a person may do something about.
#[derive(Debug, Clone, Copy)]
pub struct Duties {
    pub alarms: bool,
    pub nodes: bool,
    pub orders: bool,
    pub updates: bool,
}

impl Duties {
    pub fn of(actor: &Actor) -> Self {
        let may = |action| policy::require(actor, action).is_ok();
        Self {
            alarms: may(Action::AnswerAlarms),
            nodes: may(Action::ManageNodes),
            orders: may(Action::PlaceOrders),
            updates: may(Action::Deploy),
        }
    }
}

/// One thing that waits.
pub struct Waiting {
    /// Where it is done.
    pub href: String,
    pub text: String,
    /// More of it; empty where there is none.
    pub note: String,
    /// `red`, `amber`, `steel`.
    pub tone: &'static str,
}

/// What waits, by urgency: alarms, nodes, orders, licences, updates.
pub fn waiting(page: &Page, overview: &Overview, ending: &[EndingItem]) -> Vec<Waiting> {
    let duties = overview.duties;
    let row = |href: &str, text: String, note: String, tone| Waiting { href: href.to_owned(), text, note, tone };
    let mut rows = Vec::new();
    let (critical, warning) = overview.calling;
    if duties.alarms && critical + warning > 0 {
        let text = page.t1("fleet-waits-alarms", "n", up_to(critical + warning));
        let note = page.t1("duty-calling-note", "n", up_to(critical));
        rows.push(row("/duty/board", text, note, if critical > 0 { "red" } else { "amber" }));
    }
    if duties.nodes && overview.offline > 0 {
        rows.push(row("/mine/nodes", page.t1("fleet-waits-nodes", "n", overview.offline), String::new(), "red"));
    }
    if duties.orders && overview.orders > 0 {
        rows.push(row("/mine/orders", page.t1("fleet-waits-orders", "n", overview.orders), String::new(), "amber"));
    }
    if duties.orders {
        let license = |item: &EndingItem| {
            let text = page.t2("fleet-waits-license", "app", &item.app, "date", &item.until);
            row(&item.href, text, page.tk("state-", item.state), "amber")
        };
        rows.extend(ending.iter().map(license));
    }
    if duties.updates && overview.updates > 0 {
        rows.push(row("/mine/deployments", page.t1("fleet-waits-updates", "n", overview.updates), String::new(), "steel"));
    }
    rows
}
