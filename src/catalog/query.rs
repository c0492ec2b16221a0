//! What can be asked of the catalogue, as parsed from the address.

use serde::Deserialize;

use super::model::PlanKind;

/// Apps on one page.
pub const PAGE: usize = 24;

crate::base::db::types::text_enum! {
    /// What comes first.
    pub enum Sort {
        /// What fits the words best.
        Fit = "fit",
        /// What was listed last.
        New = "new",
        /// What is deployed most.
        Deployed = "deployed",
    }
}

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
    /// Word of [`Sort`]; what is none stands for the default of [`CatalogQuery::order`].
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

    /// What comes first: with words what fits them best, without them what is newest, unless the query says otherwise.
    pub fn order(&self) -> Sort {
        match (self.sort.parse(), self.q.is_empty()) {
            (Ok(Sort::Fit) | Err(_), true) => Sort::New,
            (Ok(sort), _) => sort,
            (Err(_), false) => Sort::Fit,
        }
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
