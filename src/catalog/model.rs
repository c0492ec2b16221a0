//! Rows and words of the catalogue.

use diesel::prelude::*;

use crate::base::db::{Timestamp, schema};
use crate::base::i18n::Names;

crate::base::db::types::text_enum! {
    pub enum ListingState {
        /// No release is published yet.
        Draft = "draft",
        /// The first release is with a moderator.
        InReview = "in_review",
        /// Found in the catalogue and sold.
        Listed = "listed",
        /// Taken out of the catalogue by its vendor; licences go on.
        Hidden = "hidden",
        /// Taken out by an administrator.
        Suspended = "suspended",
        /// Gone for good.
        Withdrawn = "withdrawn",
    }
}

crate::base::db::types::text_enum! {
    /// How an app is paid for.
    pub enum PlanKind {
        /// Per node and year.
        Subscription = "subscription",
        /// Per node, for ever.
        Perpetual = "perpetual",
        /// Free, for some days on some nodes.
        Trial = "trial",
    }
}

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::apps)]
pub struct AppRow {
    /// `app_…`.
    pub id: String,
    pub organization_id: String,
    /// Name in `app.yaml`; with the vendor's slug the repository name.
    pub slug: String,
    /// Title in Chinese.
    pub title_zh: String,
    /// Title in English.
    pub title_en: String,
    /// Summary in Chinese.
    pub summary_zh: String,
    /// Summary in English.
    pub summary_en: String,
    pub specialty: String,
    pub scenario: String,
    pub input: String,
    /// Whether it raises alarms that protect people.
    pub safety: bool,
    pub state: ListingState,
    /// Newest published release.
    pub release_id: Option<String>,
    /// Blob of the cover picture.
    pub cover_digest: Option<String>,
    /// How often it was deployed, for sorting.
    pub deployments: i64,
    /// When it was first listed.
    pub listed_at: Option<Timestamp>,
    /// When its first release was uploaded.
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::plans)]
pub struct PricePlan {
    /// `pln_…`.
    pub id: String,
    pub app_id: String,
    pub kind: PlanKind,
    /// Price in fen per node (and year, for a subscription).
    pub price_fen: i64,
    pub trial_days: i64,
    /// Most nodes of a trial.
    pub trial_nodes: i64,
    /// Whether it can be ordered.
    pub active: bool,
    pub created_at: Timestamp,
}

/// Reads an amount of yuan as typed (`1280`, `1,280.5`, `¥ 1,280.00`, also in full-width signs) into fen; at most 10 thousand million
/// yuan. Commas only between groups of three digits: `10,00` may be meant as ten.
pub fn parse_yuan(text: &str) -> Option<i64> {
    let narrow = |c: char| match c {
        '０'..='９' | '．' | '，' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        other => other,
    };
    let text: String = text.chars().take(60).map(narrow).collect();
    let text = text.trim().trim_start_matches(['¥', '￥']).trim();
    let (whole, cents) = text.split_once('.').unwrap_or((text, ""));
    let groups: Vec<&str> = whole.split(',').collect();
    let first = groups.first()?.len();
    if groups.len() > 1 && (!(1..=3).contains(&first) || groups.iter().skip(1).any(|group| group.len() != 3)) {
        return None;
    }
    let whole = groups.concat();
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 10 || cents.len() > 2 || !digits(&whole) || !digits(cents) {
        return None;
    }
    let cents: i64 = format!("{cents:0<2}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(cents)
}

/// Names of an app, as far as licences and deployments show them.
#[derive(Debug, Clone, Queryable)]
pub struct AppName {
    /// Slug of the developer.
    pub vendor: String,
    /// Slug of the app.
    pub slug: String,
    /// Title in Chinese.
    pub title_zh: String,
    /// Title in English.
    pub title_en: String,
    /// Whether it raises alarms that protect people.
    pub safety: bool,
    /// State of the listing.
    pub state: ListingState,
}

impl AppName {
    /// `vendor/app`, the name in licences and of the repository.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.vendor, self.slug)
    }
}

/// A developer or an app by slug and name.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct SlugName {
    pub slug: String,
    pub name: Names,
}

/// A scenario of the taxonomy.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Scenario {
    pub slug: String,
    /// Slug of its specialty.
    pub specialty: String,
    pub name: Names,
}

/// A listed app with its developer.
#[derive(Debug, Clone, Queryable)]
pub struct Card {
    pub app: AppRow,
    pub vendor: SlugName,
}

/// What of a listed app decides where it stands in a search, and whether it is found.
#[derive(Debug, Clone)]
pub struct Facts {
    pub id: String,
    pub specialty: String,
    pub scenario: String,
    pub input: String,
    pub deployments: i64,
    pub listed_at: Option<Timestamp>,
    /// Kinds of its active plans, each once.
    pub plans: Vec<PlanKind>,
}

/// Who owns an app: organisation id, vendor slug, app slug.
pub struct Owner {
    pub organization_id: String,
    pub vendor: String,
    pub app: String,
}

impl Owner {
    /// Name of the app's repository.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.vendor, self.app)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_are_read_strictly() {
        for (text, fen) in
            [("1280", 128_000), ("1,280.5", 128_050), (" ¥1,280.00 ", 128_000), ("0.01", 1), ("0", 0), ("￥１，２８０．５０", 128_050)]
        {
            assert_eq!(parse_yuan(text), Some(fen), "{text}");
        }
        for bad in ["", "-1", "10,00", "1,2345", ",100", "1,,000", "1.234", "1e9", "12345678901", "١٢", ".5", "1 2", "NaN"] {
            assert_eq!(parse_yuan(bad), None, "{bad}");
        }
    }
}
