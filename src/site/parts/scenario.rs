//! A scenario beside a short list of results, or in the list of those that a person follows.

use crate::catalog::model::Scenario;
use crate::catalog::search::Offered;
use crate::http::page::Page;

/// A scenario as the page names it (`parts/follow.html`).
pub struct ScenarioLine {
    pub slug: String,
    pub name: String,
    /// Number of its apps.
    pub count: i64,
    pub followed: bool,
}

impl ScenarioLine {
    pub fn of(page: &Page, scenario: &Scenario, count: i64, followed: &[String]) -> Self {
        let name = page.name(&scenario.name).to_owned();
        Self { followed: followed.contains(&scenario.slug), slug: scenario.slug.clone(), name, count }
    }
}

/// The scenarios offered: those without an app, and those near them.
pub fn lines(page: &Page, offered: &Offered, followed: &[String]) -> (Vec<ScenarioLine>, Vec<ScenarioLine>) {
    let wanted = offered.wanted.iter().map(|scenario| ScenarioLine::of(page, scenario, 0, followed)).collect();
    (wanted, offered.near.iter().map(|(scenario, n)| ScenarioLine::of(page, scenario, *n, followed)).collect())
}
