//! What can be asked of the catalogue, as parsed from the address.

use serde::Deserialize;

use super::model::PlanKind;

/// Apps on one page.
pub const PAGE: usize = 24;

/// The address's query. An unknown value is no error; it finds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct CatalogQuery {
    /// Words searched for.
    pub q: String,
    pub specialty: String,
    pub scenario: String,
    pub input: String,
    pub plan: String,
    /// `new` (default) or `deployed`.
    pub sort: String,
    /// Id of the last app of the page before.
    pub after: String,
}

impl CatalogQuery {
    /// Cuts values that are too long.
    #[must_use]
    pub fn bounded(self) -> Self {
        let cut = |s: String, n: usize| if s.chars().count() > n { s.chars().take(n).collect() } else { s };
        Self {
            q: cut(self.q.trim().to_owned(), 100),
            specialty: cut(self.specialty, 40),
            scenario: cut(self.scenario, 60),
            input: cut(self.input, 20),
            plan: cut(self.plan, 20),
            sort: cut(self.sort, 10),
            after: cut(self.after, 60),
        }
    }

    /// The plan kind, if it is one.
    pub fn plan_kind(&self) -> Option<PlanKind> {
        self.plan.parse().ok()
    }

    /// The address of this query with one value changed and paging begun anew.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut pairs = vec![];
        for (key, own) in [
            ("q", &self.q),
            ("specialty", &self.specialty),
            ("scenario", &self.scenario),
            ("input", &self.input),
            ("plan", &self.plan),
            ("sort", &self.sort),
        ] {
            let shown = if key == name { value } else { own.as_str() };
            if !shown.is_empty() {
                pairs.push((key, shown));
            }
        }
        if name == "after" && !value.is_empty() {
            pairs.push(("after", value));
        }
        let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
        if query.is_empty() { "/apps".into() } else { format!("/apps?{query}") }
    }

    /// Whether anything narrows the list.
    pub fn is_narrowed(&self) -> bool {
        [&self.q, &self.specialty, &self.scenario, &self.input, &self.plan].iter().any(|v| !v.is_empty())
    }
}
