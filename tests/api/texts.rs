//! Every text exists in both languages, and no template holds a bare one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use pithead::base::i18n::Lang;

use crate::sources::{files, rust_sources};

/// Literals after `start` up to the next quote.
fn literals<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.match_indices(start).filter_map(|(at, _)| text[at + start.len()..].split('"').next()).collect()
}

#[test]
fn keys_of_templates_and_pages_exist_in_both_languages() {
    let mut missing = BTreeSet::new();
    let mut check = |path: &Path, key: &str| {
        // `Page::of(&req, "")`: the title is a text that comes later.
        if key.is_empty() {
            return;
        }
        for lang in Lang::ALL {
            if !lang.has(key) {
                missing.insert(format!("{}: {key} ({})", path.display(), lang.tag()));
            }
        }
    };
    for path in files("templates", "html").into_iter().chain(files("src", "rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for start in ["page.t(\"", "page.t1(\"", "page.t2(\"", "Page::of(&req, \"", "Page::of(req, \"", "lang.t(\"", "lang.format(\""] {
            for key in literals(&text, start) {
                check(&path, key);
            }
        }
    }
    assert!(missing.is_empty(), "texts that are missing:\n{}", missing.into_iter().collect::<Vec<_>>().join("\n"));
}

/// A macro's arguments are read inside it, where its parameters already have their values: an argument that is called like an earlier
/// parameter would be that parameter.
#[test]
fn no_argument_of_a_macro_is_hidden_by_its_parameters() {
    let ui = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/parts/ui.html")).unwrap();
    let macros: Vec<(String, Vec<String>)> = ui
        .match_indices("macro ")
        .filter_map(|(at, _)| ui[at + 6..].split_once(')')?.0.split_once('('))
        .map(|(name, parameters)| {
            let names = parameters.split(',').map(|p| p.split('=').next().unwrap_or_default().trim().to_owned());
            (name.to_owned(), names.collect())
        })
        .collect();
    assert!(macros.iter().any(|(name, parameters)| name == "field" && parameters.len() > 5));
    let mut hidden = Vec::new();
    for path in files("templates", "html") {
        let text = std::fs::read_to_string(&path).unwrap();
        for (name, parameters) in &macros {
            for (at, call) in text.match_indices(&format!("ui::{name}(")) {
                let arguments = text[at + call.len()..].split("}}").next().unwrap();
                for (place, argument) in arguments.trim_end_matches([' ', '+', ')']).split(',').enumerate() {
                    let argument = argument.trim().split('=').next_back().unwrap();
                    if parameters.iter().take(place).any(|parameter| parameter == argument) {
                        hidden.push(format!("{}: {argument} of {name}", path.display()));
                    }
                }
            }
        }
    }
    hidden.retain(|line| !line.contains(": errors of"));
    assert!(hidden.is_empty(), "{}", hidden.join("\n"));
}

#[test]
fn rights_that_templates_ask_for_exist() {
    for path in files("templates", "html") {
        let text = std::fs::read_to_string(&path).unwrap();
        for action in literals(&text, "page.may(\"") {
            assert!(action.parse::<pithead::base::auth::policy::Action>().is_ok(), "{}: {action}", path.display());
        }
    }
}

#[test]
fn every_error_code_has_a_text() {
    let constructors =
        ["invalid", "unauthenticated", "forbidden", "not_found", "conflict", "gone", "too_large", "rate_limited", "unavailable", "full"];
    let mut missing = BTreeSet::new();
    for source in rust_sources("src") {
        let text: String = source.code.split_whitespace().collect();
        let mut codes: Vec<&str> = constructors.iter().flat_map(|c| literals(&text, &format!("Error::{c}(\""))).collect();
        for start in [".or_not_found(\"", ".or_conflict(\""] {
            codes.extend(literals(&text, start));
        }
        // `exactly_one(rows, "code")` and `faults.add("field", "code")`: the literal that ends the call.
        for start in ["exactly_one(", "faults.add("] {
            codes.extend(text.match_indices(start).filter_map(|(at, _)| text[at..].split_once("\")")?.0.rsplit('"').next()));
        }
        for code in codes
            .into_iter()
            .filter(|code| !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
        {
            for lang in Lang::ALL {
                if !lang.has(&format!("error-{code}")) {
                    missing.insert(format!("{}: error-{code} ({})", source.path, lang.tag()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "error texts that are missing:\n{}", missing.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_recorded_action_is_listed() {
    use pithead::audit::model::ACTIONS;
    let mut missing = BTreeSet::new();
    for source in rust_sources("src") {
        let text: String = source.code.split_whitespace().collect();
        for start in [".audit(", ".audit_as(", ".audit_for("] {
            let first = text.match_indices(start).filter_map(|(at, _)| text[at..].split('"').nth(1));
            // Of a call that is given its action by name the first literal is no action, and has no dot.
            missing
                .extend(first.filter(|action| action.contains('.') && !ACTIONS.contains(action)).map(|a| format!("{}: {a}", source.path)));
        }
    }
    // And the other way: who writes a text for an action lists it.
    let texts = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/locales/en/audit.ftl")).unwrap();
    let listed: BTreeSet<String> = ACTIONS.iter().map(|action| action.replace('.', "-")).collect();
    missing.extend(
        texts
            .lines()
            .filter_map(|line| line.strip_prefix("audit-action-")?.split(' ').next())
            .filter(|key| !listed.contains(*key))
            .map(str::to_owned),
    );
    assert!(missing.is_empty(), "actions that audit::model::ACTIONS lacks:\n{}", Vec::from_iter(missing).join("\n"));
}

/// The template without askama's parts.
fn without_code(text: &str) -> String {
    let mut rest = text.to_owned();
    for (open, close) in [("{#", "#}"), ("{%", "%}"), ("{{", "}}"), ("<!--", "-->"), ("<svg", "</svg>"), ("<script", "</script>")] {
        let mut out = String::new();
        let mut at = rest.as_str();
        while let Some(start) = at.find(open) {
            out.push_str(&at[..start]);
            out.push('\u{1}');
            at = at[start..].find(close).map_or("", |end| &at[start + end + close.len()..]);
        }
        out.push_str(at);
        rest = out;
    }
    rest
}

#[test]
fn no_template_holds_a_bare_text() {
    let mut bare = Vec::new();
    for path in files("templates", "html") {
        let text = without_code(&std::fs::read_to_string(&path).unwrap());
        let mut outside = String::new();
        let mut tag = String::new();
        let mut inside = false;
        for c in text.chars() {
            match c {
                '<' => {
                    inside = true;
                    tag.clear();
                }
                '>' if inside => {
                    inside = false;
                    for attribute in [" alt=\"", " title=\"", " placeholder=\"", " aria-label=\""] {
                        for value in literals(&tag, attribute) {
                            if value.chars().any(char::is_alphabetic) {
                                bare.push(format!("{}: {attribute}{value}\"", path.display()));
                            }
                        }
                    }
                }
                _ if inside => tag.push(c),
                _ => outside.push(c),
            }
        }
        for word in outside.split(|c: char| c.is_whitespace() || c == '\u{1}') {
            if word.chars().any(char::is_alphabetic) {
                bare.push(format!("{}: {word}", path.display()));
            }
        }
    }
    // Units and key names are the same in both languages.
    let allowed = ["p95", "kbd", "MiB", "MHz", "CSV", "JSON"];
    bare.retain(|b| !allowed.iter().any(|a| b.ends_with(a)));
    assert!(bare.is_empty(), "bare texts:\n{}", bare.join("\n"));
}

/// askama.toml: a tag takes the white space beside it. A space within a line is there to be read, so its tag must say `+`; the end of a
/// line and what it begins with are only there for those who change the template.
#[test]
fn no_space_that_is_read_is_lost() {
    let mut lost = Vec::new();
    for path in files("templates", "html") {
        let text = std::fs::read_to_string(&path).unwrap();
        for (open, close) in [("{{", "}}"), ("{%", "%}")] {
            for (start, _) in text.match_indices(open) {
                let end = start + text[start..].find(close).unwrap() + close.len();
                let tag = &text[start..end];
                let before = text[..start].rsplit('\n').next().unwrap_or_default();
                let after = text[end..].split('\n').next().unwrap_or_default();
                let took_left = before.ends_with(' ') && !before.trim().is_empty() && !tag[open.len()..].starts_with('+');
                let took_right = after.starts_with(' ') && !tag[..tag.len() - close.len()].ends_with('+');
                if (took_left || took_right) && !before.contains("{#") {
                    lost.push(format!("{}: {tag}", path.display()));
                }
            }
        }
    }
    assert!(lost.is_empty(), "a space beside a tag without `+`:\n{}", lost.join("\n"));
}

/// docs/ERRORS.md lists every code with its texts. `UPDATE_GOLDEN=1` writes it anew.
#[test]
fn docs_list_every_error_code() {
    let mut codes = BTreeSet::new();
    for path in files("locales/en", "ftl") {
        let text = std::fs::read_to_string(path).unwrap();
        codes.extend(text.lines().filter_map(|l| l.strip_prefix("error-")?.split_once(" =")).map(|(code, _)| code.to_owned()));
    }
    let mut table = String::from(
        "# Error codes\n\nStable words in `code` of problem documents and behind the messages of pages. `{ $x }` is filled in.\n\n| code | zh-CN | en |\n|---|---|---|\n",
    );
    let raw = |lang: &str, code: &str| {
        files(&format!("locales/{lang}"), "ftl")
            .iter()
            .find_map(|p| {
                std::fs::read_to_string(p).unwrap().lines().find_map(|l| l.strip_prefix(&format!("error-{code} = ")).map(ToOwned::to_owned))
            })
            .unwrap_or_default()
            .replace('|', "\\|")
    };
    for code in &codes {
        writeln!(table, "| `{code}` | {} | {} |", raw("zh-CN", code), raw("en", code)).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ERRORS.md");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(path, &table).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap_or_default() == table, "docs/ERRORS.md is not true today (UPDATE_GOLDEN=1 writes it)");
}

/// docs/PUBLISHING.md lists the taxonomy that the migrations bring.
#[test]
fn docs_list_every_scenario() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let sql = std::fs::read_to_string(format!("{root}migrations/sqlite/2026-11-23-000001_taxonomy/up.sql")).unwrap();
    let docs = std::fs::read_to_string(format!("{root}docs/PUBLISHING.md")).unwrap();
    let (_, scenarios) = sql.split_once("INSERT INTO scenarios").unwrap();
    let pairs: Vec<(&str, &str)> = scenarios.lines().filter_map(|l| l.trim().strip_prefix("('")?.split_once("', '")).collect();
    assert!(pairs.len() >= 40, "{}", pairs.len());
    for (scenario, rest) in pairs {
        let specialty = rest.split('\'').next().unwrap();
        let row =
            docs.lines().find(|l| l.starts_with(&format!("| `{specialty}` | `"))).unwrap_or_else(|| panic!("{specialty} is not listed"));
        assert!(row.contains(&format!("`{scenario}`")), "{specialty}: {scenario}");
    }
}
