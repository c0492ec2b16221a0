//! The sources of the server as text, without what only tests use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One file of Rust.
pub struct Source {
    /// From the root of the project, as `src/trade/service.rs`.
    pub path: String,
    /// Module path, as `["trade", "service"]`; empty for the crate's root.
    pub module: Vec<String>,
    /// The text before its tests, without comments.
    pub code: String,
}

/// All files below a folder with an extension, sorted.
pub fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Sources below a folder, but for tests (`tests.rs`, `tests/`, `testing/`) and for what follows `#[cfg(test)]` at the start of a line.
pub fn rust_sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for file in files(folder, "rs") {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.split(['/', '.']).any(|part| matches!(part, "tests" | "testing")) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let mut module: Vec<String> = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
            module.pop();
        }
        sources.push(Source { path, module, code: without_comments(&without_tests(&text)) });
    }
    sources
}

/// Leaves out each item that `#[cfg(test)]` marks: a line that ends it, or all up to the brace that closes at the same indent.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        for line in lines.by_ref() {
            if line.trim_start().starts_with("#[") {
                continue;
            }
            let closes = line.len() - line.trim_start().len() == indent && line.trim_start().starts_with('}');
            if closes || line.ends_with(';') && line.len() - line.trim_start().len() == indent {
                break;
            }
        }
    }
    kept
}

/// Paths of the routes of a method (`get`, `post`), as the sources have them, in order.
pub fn routes(method: &str) -> BTreeSet<String> {
    routes_of("src", method)
}

/// The same of the sources below a folder.
pub fn routes_of(folder: &str, method: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in rust_sources(folder) {
        let compact: String = source.code.split_whitespace().collect();
        for (at, start) in compact.match_indices(".route(\"") {
            let (route, after) = compact[at + start.len()..].split_once('"').unwrap();
            if after.starts_with(&format!(",web::{method}()")) {
                found.insert(route.to_owned());
            }
        }
    }
    found
}

/// Whether programs call a route, not people.
pub fn is_for_programs(route: &str) -> bool {
    ["/v2", "/api/", "/edge/"].iter().any(|start| route.starts_with(start))
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

impl Source {
    /// Paths after `crate::`, and those that `super` leads to outside the file's own first module; braces are opened. Paths that begin
    /// with a name which such a `use` has brought in are told with it, as `fleet::service` after `use crate::{account, fleet};`.
    pub fn uses(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let code = self.code.as_str();
        for (at, _) in code.match_indices("crate::") {
            if at > 0 && code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            found.extend(open(&mut code[at + "crate::".len()..].chars().peekable()));
        }
        for (at, _) in code.match_indices("super::") {
            if at > 0 && code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let (mut rest, mut folder) = (&code[at..], self.module.as_slice());
            while let Some(after) = rest.strip_prefix("super::") {
                rest = after;
                folder = folder.split_last().map_or(&[] as &[String], |(_, above)| above);
            }
            let below = open(&mut rest.chars().peekable());
            found.extend(below.into_iter().map(|path| folder.iter().cloned().chain(path).collect()));
        }
        let heads: Vec<String> = found.iter().filter(|p| p.len() == 1).map(|p| p[0].clone()).collect();
        for head in heads {
            for (at, _) in code.match_indices(&format!("{head}::")) {
                if at > 0 && code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                found.extend(open(&mut code[at..].chars().peekable()));
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// The paths of `a::b`, `a::{b, c::d}` or `{a, b}`, as far as names go.
fn open(chars: &mut std::iter::Peekable<std::str::Chars>) -> Vec<Vec<String>> {
    while chars.peek().is_some_and(|c| c.is_whitespace()) {
        chars.next();
    }
    if chars.peek() == Some(&'{') {
        chars.next();
        let mut all = Vec::new();
        loop {
            all.extend(open(chars));
            loop {
                match chars.next() {
                    Some(',') => break,
                    Some('}') | None => return all,
                    Some(_) => {}
                }
            }
            while chars.peek().is_some_and(|c| c.is_whitespace()) {
                chars.next();
            }
            if chars.peek() == Some(&'}') {
                chars.next();
                return all;
            }
        }
    }
    let mut name = String::new();
    while let Some(c) = chars.peek().copied().filter(|c| c.is_alphanumeric() || *c == '_') {
        name.push(c);
        chars.next();
    }
    if name.is_empty() {
        return Vec::new();
    }
    let mut ahead = chars.clone();
    if ahead.next() == Some(':') && ahead.next() == Some(':') {
        chars.next();
        chars.next();
        let rest = open(chars);
        if rest.is_empty() {
            return vec![vec![name]];
        }
        return rest
            .into_iter()
            .map(|mut path| {
                path.insert(0, name.clone());
                path
            })
            .collect();
    }
    if name == "self" { vec![Vec::new()] } else { vec![vec![name]] }
}
