//! The races of docs/RACES.md, each with [`WRITERS`] writers at once. On PostgreSQL they meet; on SQLite they stand in line.

mod account;
mod alarm_management;
mod fleet;
mod release;
mod stops;
mod trade;

use std::collections::BTreeSet;

use crate::base::error::Result;

/// How many went through, and the codes of the others.
fn sorted<T>(results: Vec<Result<T>>) -> (usize, BTreeSet<String>) {
    let refused = results.iter().filter_map(|r| r.as_ref().err());
    let codes = refused.map(|e| e.fields.first().map_or(e.code, |f| f.code).to_owned()).collect();
    (results.iter().filter(|r| r.is_ok()).count(), codes)
}

fn codes(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|code| (*code).to_owned()).collect()
}
