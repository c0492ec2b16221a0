//! The house has one direction: a module uses only modules of rows before its own (docs/ARCHITECTURE.md). A new module finds its row
//! here first; a name in the comments is a row that has no code yet.

use std::collections::BTreeSet;

use crate::sources::{Source, rust_sources};

/// The rows, lowest first. Modules of one row do not know each other. `site` and `wire` are told apart by their folders.
const ROWS: &[&[&str]] = &[
    &["base"],
    &["audit"],
    &["account"],
    &["notice"],
    &["webhook"],
    &["once"],
    // ledger
    &["registry"],
    &["trust"],
    &["catalog"],
    &["release"],
    &["draft"],
    &["evaluation"],
    &["moderation"],
    &["license"],
    // pay
    &["trade"],
    &["fleet"],
    &["telemetry"],
    &["alarm_management"],
    &["stops"],
    // source (scene, episodes), rollout, acceptance, review, recall, improve, peer
    &["http"],
    &["site::parts"],
    &["wire::api", "wire::oci", "wire::margo", "wire::edge", "wire::ops", "site::events"],
    &["site::market", "site::account", "site::vendor", "site::mine", "site::duty", "site::admin"],
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

/// Who writes each table. Rows of it are read by its owner and by what stands above.
const OWNERS: &[(&str, &[&str])] = &[
    ("base", &["counters", "job_turns", "jobs", "key_pins", "rates"]),
    ("audit", &["audit_heads", "audit_records", "audit_seal_leaves", "audit_seals"]),
    (
        "account",
        &[
            "api_tokens",
            "invitations",
            "memberships",
            "one_time_links",
            "organization_names",
            "organizations",
            "sessions",
            "throttles",
            "users",
        ],
    ),
    ("notice", &["messages"]),
    ("webhook", &["webhook_attempts", "webhook_deliveries", "webhooks"]),
    ("once", &["kept_answers"]),
    (
        "registry",
        &[
            "blob_pins",
            "blobs",
            "manifest_blobs",
            "manifests",
            "repositories",
            "repository_blobs",
            "retired_tags",
            "storage_quotas",
            "tags",
            "uploads",
        ],
    ),
    ("trust", &["vendor_keys"]),
    ("catalog", &["apps", "plans", "scenario_follows", "scenarios", "specialties"]),
    ("release", &["check_reports", "measurements", "releases"]),
    ("draft", &["drafts"]),
    ("evaluation", &["evaluation_scores", "evaluation_sets"]),
    ("moderation", &["cases"]),
    ("license", &["activations", "licenses"]),
    ("trade", &["orders", "payments"]),
    ("fleet", &["deployment_events", "deployments", "node_documents", "nodes", "sites"]),
    ("alarm_management", &["alarm_acts", "alarm_responses", "alarm_suppressions", "equipment_alarms"]),
    ("telemetry", &["alarm_pictures", "alarms", "app_samples", "node_samples", "node_sources", "proofs", "streams", "usage_counters"]),
];

/// Whether a file is of those with statements that differ by database: each is its caller's.
fn is_dialect(path: &str) -> bool {
    path == "src/base/db/dialect.rs" || path.starts_with("src/base/db/dialect/")
}

fn owner(table: &str) -> &'static str {
    let of = OWNERS.iter().find(|(_, tables)| tables.contains(&table));
    of.unwrap_or_else(|| panic!("give the table `{table}` an owner")).0
}

/// Names after each of some words, as the tables after `INSERT INTO `.
fn after<'a>(code: &'a str, words: &[&str]) -> Vec<&'a str> {
    let name = |at: usize| code[at..].trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    words.iter().flat_map(|word| code.match_indices(word).map(|(at, _)| name(at + word.len()))).collect()
}

/// Each function of the dialect with the tables that it writes and reads.
fn dialect(tables: &BTreeSet<String>) -> Vec<(String, BTreeSet<String>, BTreeSet<String>)> {
    let sources = rust_sources("src/base/db");
    let known = |names: Vec<&str>| names.into_iter().filter(|name| tables.contains(*name)).map(str::to_owned).collect::<BTreeSet<_>>();
    sources
        .iter()
        .filter(|source| is_dialect(&source.path))
        .flat_map(|source| source.code.split("\npub fn ").skip(1))
        .map(|body| {
            let name = body.split(['(', '<']).next().unwrap().to_owned();
            let writes = known(after(body, &["INSERT INTO ", "UPDATE ", "DELETE FROM ", "diesel::update(dsl::", "diesel::delete(dsl::"]));
            (name, writes, known(after(body, &["FROM ", "JOIN ", "schema::"])))
        })
        .collect()
}

#[test]
fn a_table_is_written_by_its_owner_and_read_from_above() {
    let schema = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/base/db/schema.rs")).unwrap();
    let tables: BTreeSet<String> =
        schema.split("diesel::table! {").skip(1).map(|t| t.trim_start().split(' ').next().unwrap().to_owned()).collect();
    assert!(tables.len() > 40, "only {} tables were found", tables.len());
    let dialect = dialect(&tables);
    let (mut wrong, mut written) = (BTreeSet::new(), BTreeSet::new());
    for source in rust_sources("src").iter().filter(|source| !is_dialect(&source.path) && source.path != "src/base/db/schema.rs") {
        let own = module(&source.module);
        let called: Vec<_> = dialect.iter().filter(|(name, ..)| source.code.contains(&format!("dialect::{name}("))).collect();
        let mut writes: BTreeSet<String> = called.iter().flat_map(|(_, writes, _)| writes.clone()).collect();
        for statement in ["diesel::insert_into(", "diesel::update(", "diesel::delete("] {
            for argument in after(&source.code, &[statement]).iter().zip(source.code.split(statement).skip(1)) {
                let (first, rest) = argument;
                let name = if *first == "dsl" { after(rest, &["dsl::"])[0] } else { first };
                if tables.contains(name) {
                    writes.insert(name.to_owned());
                } else {
                    wrong.insert(format!("{}: {statement}{first}… names no table", source.path));
                }
            }
        }
        let mut reads: BTreeSet<String> = called.iter().flat_map(|(_, _, reads)| reads.clone()).collect();
        reads.extend(
            source
                .uses()
                .into_iter()
                .filter(|path| path.starts_with(&["base", "db", "schema"].map(str::to_owned)))
                .filter_map(|path| path.get(3).cloned()),
        );
        if own != "base" && [".eq(\"", ".ne(\"", ".eq_any([\""].iter().any(|compared| source.code.contains(&format!("::state{compared}"))) {
            wrong.insert(format!("{}: a state as a loose word; its slice has a type for it", source.path));
        }
        for table in &writes {
            if owner(table) != own {
                wrong.insert(format!("{}: writes {table}, which is {}'s", source.path, owner(table)));
            }
            written.insert(table.clone());
        }
        for table in reads.iter().filter(|table| tables.contains(*table)) {
            if row(owner(table)) > row(&own) {
                wrong.insert(format!("{}: reads {table}, which is {}'s", source.path, owner(table)));
            }
        }
    }
    assert!(wrong.is_empty(), "tables in the wrong hands:\n{}", Vec::from_iter(wrong).join("\n"));
    // The taxonomy is written by migrations.
    let unwritten: Vec<_> = tables.iter().filter(|table| !written.contains(*table)).collect();
    assert_eq!(unwritten, ["scenarios", "specialties"], "tables that nobody writes, or whose writing this test does not see");
}
