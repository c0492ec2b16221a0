//! Reading `app.yaml`: every fault at once, each with its line and what to do about it.
//!
//! Three passes over one bounded tree: [`yaml`] (syntax, aliases, depth, duplicate keys), [`schema`] (keys, types, bounds; a
//! table of the format) and [`rules`] (what spans several keys). The value is only built when there is no fault.
//! Invariant: no input panics, and work is linear in the input, which is at most [`MAX_YAML_BYTES`].

use crate::fault::Fault;
use crate::manifest::AppManifest;

mod check;
mod files;
mod license;
pub mod messages;
mod near;
mod rules;
mod schema;
mod yaml;

pub use files::{FileEntry, MAX_FILE_BYTES, MAX_FILES, MAX_WASM_BYTES, check_files};

/// Longest `app.yaml`, in bytes.
pub const MAX_YAML_BYTES: usize = 256 * 1024;
/// Most faults that are told at once; a person reads no more, and a hostile file must not make us build millions.
pub const MAX_FAULTS: usize = 200;

/// Reads and checks the text of an `app.yaml`.
pub fn parse(yaml: &str) -> Result<AppManifest, Vec<Fault>> {
    if yaml.len() > MAX_YAML_BYTES {
        return Err(vec![Fault::new("yaml-too-large", "").with("value", yaml.len()).with("max", MAX_YAML_BYTES)]);
    }
    let mut faults = Faults::default();
    let Some(tree) = yaml::read(yaml, &mut faults) else { return Err(faults.finish()) };
    let value = check::walk(&tree, &mut faults);
    rules::check(&tree, &mut faults);
    if faults.is_empty()
        && let Some(value) = value
    {
        match serde_json::from_value(value) {
            Ok(app) => return Ok(app),
            // The table of the format and the types disagree: ours to mend, but still an answer to the developer.
            Err(error) => faults.push(Fault::new("not-understood", "").with("detail", error)),
        }
    }
    Err(faults.finish())
}

/// The line of a place in an `app.yaml`, such as `procedures[0].steps[1].when`; none where there is no such place.
pub fn line_of(yaml: &str, key: &str) -> Option<u32> {
    if yaml.len() > MAX_YAML_BYTES {
        return None;
    }
    let tree = yaml::read(yaml, &mut Faults::default())?;
    let mut node = &tree;
    for part in key.split('.') {
        let mut names = part.split('[');
        node = node.get(names.next()?)?;
        for place in names {
            node = node.items().get(place.strip_suffix(']')?.parse::<usize>().ok()?)?;
        }
    }
    Some(node.line)
}

/// The faults found so far, at most [`MAX_FAULTS`].
#[derive(Debug, Default)]
struct Faults {
    found: Vec<Fault>,
    more: bool,
}

impl Faults {
    fn push(&mut self, fault: Fault) {
        if self.found.len() < MAX_FAULTS { self.found.push(fault) } else { self.more = true }
    }

    fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn is_full(&self) -> bool {
        self.more
    }

    /// The faults in the order of lines, with `too-many-faults` as the last where some were left out.
    fn finish(mut self) -> Vec<Fault> {
        self.found.sort_by(|a, b| (a.line.unwrap_or(0), &a.key).cmp(&(b.line.unwrap_or(0), &b.key)));
        if self.more {
            self.found.push(Fault::new("too-many-faults", "").with("max", MAX_FAULTS));
        }
        self.found
    }
}

#[cfg(test)]
mod tests;
