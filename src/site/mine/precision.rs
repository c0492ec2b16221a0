//! How often an app was right at this mine, as bars and as a table.

use crate::alarm_management::precision::{LEAST, WEEKS, Week};
use crate::http::page::Page;
use crate::site::parts::plot::{self, MAX_GROUPS, Plot, Series};

/// A week of a version.
pub struct PrecisionRow {
    pub version: String,
    pub week: String,
    pub real: usize,
    pub judged_false: usize,
    pub precision: String,
}

/// What a page shows of an app's precision.
pub struct Precision {
    /// The newest weeks.
    pub plot: Option<Plot>,
    pub rows: Vec<PrecisionRow>,
    pub weeks: i64,
    pub least: usize,
}

impl Precision {
    /// None where there are too few verdicts.
    pub fn of(page: &Page, weeks: &[Week]) -> Option<Self> {
        if weeks.is_empty() {
            return None;
        }
        let percent = |week: &Week| format!("{:.0} %", 100.0 * week.precision());
        let mut drawn: Vec<&Week> = weeks.iter().collect();
        drawn.sort_by_key(|week| week.begin);
        let drawn = drawn.split_off(drawn.len().saturating_sub(MAX_GROUPS));
        let names: Vec<String> = drawn.iter().map(|week| format!("{} · {}", page.date(&week.begin), week.version)).collect();
        let words = |week: &Week| format!("{} ({} / {})", percent(week), week.real, week.verdicts());
        let values = drawn.iter().map(|week| (100.0 * week.precision(), words(week))).collect();
        let series = Series { name: page.t("duty-precision"), tone: "steel", values };
        let row = |week: &Week| PrecisionRow {
            version: week.version.clone(),
            week: page.date(&week.begin),
            real: week.real,
            judged_false: week.judged_false,
            precision: percent(week),
        };
        Some(Self {
            plot: plot::bars("precision", page.t("duty-precision"), &names, &[series], &[]),
            rows: weeks.iter().map(row).collect(),
            weeks: WEEKS,
            least: LEAST,
        })
    }
}
