//! The house has one direction: a module uses only modules of rows before its own (docs/ARCHITECTURE.md). A new module finds its row
//! here first; a name in the comments is a row that has no code yet.

use std::collections::BTreeSet;

use crate::sources::{Source, rust_sources};

/// The rows, lowest first. Modules of one row do not know each other. `site` and `wire` are told apart by their folders.
const ROWS: &[&[&str]] = &[
    &["base"],
    &["audit"],
    &["account"],
    // notice, ledger
    &["registry"],
    &["trust"],
    &["catalog"],
    &["release"],
    &["evaluation"],
    &["moderation"],
    &["license"],
    // pay
    &["trade"],
    &["fleet"],
    &["telemetry"],
    // source (scene, episodes), rollout, acceptance, review, recall, improve, peer
    &["http"],
    &["site::parts"],
    &["wire::oci", "wire::margo", "wire::edge", "wire::ops", "site::events"],
    &["site::market", "site::account", "site::vendor", "site::mine", "site::admin"], // duty
    &["site", "wire"],
    &["server"],
    &["demo"],
    &["cli", "main", "lib"],
];

fn row(name: &str) -> usize {
    ROWS.iter().position(|row| row.contains(&name)).unwrap_or_else(|| panic!("give `{name}` a row"))
}

/// The module that a path such as `site::mine::nodes` belongs to, as [`ROWS`] names it.
fn module(path: &[String]) -> String {
    let head = path.first().map_or("lib", String::as_str);
    match path.get(1) {
        Some(second) if matches!(head, "site" | "wire") => {
            let folder = format!("{head}::{second}");
            if ROWS.iter().any(|row| row.contains(&folder.as_str())) { folder } else { head.to_owned() }
        }
        _ => head.to_owned(),
    }
}

fn wrong_uses(source: &Source) -> BTreeSet<String> {
    let own = module(&source.module);
    let mut wrong = BTreeSet::new();
    for used in source.uses() {
        let head = module(&used);
        if head != own && row(&head) >= row(&own) {
            wrong.insert(format!("{}: crate::{}", source.path, used.join("::")));
        }
        if used.first() != source.module.first() && used.get(1).is_some_and(|second| second == "store") {
            wrong.insert(format!("{}: {}'s store", source.path, used[0]));
        }
    }
    if row(&own) < row("http") && source.code.contains("actix_web") {
        wrong.insert(format!("{}: actix_web", source.path));
    }
    wrong
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let wrong: BTreeSet<String> = rust_sources("src").iter().flat_map(wrong_uses).collect();
    assert!(wrong.is_empty(), "uses that run up:\n{}", Vec::from_iter(wrong).join("\n"));
}
