//! The files of a package folder against its manifest.

use std::collections::HashMap;

use super::yaml::{self, Node};
use super::{Faults, MAX_YAML_BYTES};
use crate::fault::Fault;
use crate::file_kind::{self, FileKind, Refused};
use crate::manifest::AppManifest;
use crate::path::{self, PackagePath};
use crate::pipeline::Step;

/// Largest file, in bytes (20 GiB).
pub const MAX_FILE_BYTES: u64 = 20 * 1024 * 1024 * 1024;
/// Most files of a package.
pub const MAX_FILES: usize = 2_000;
/// Largest picture of a listing, in bytes.
const MAX_MEDIA_BYTES: u64 = 2 * 1024 * 1024;
/// Largest golden input, in bytes; the same bound as a prediction's input.
const MAX_INPUT_BYTES: u64 = 20_000_000;
/// Largest file that a step reads beside its model, in bytes.
const MAX_BESIDE_BYTES: u64 = 20_000_000;
/// Largest module of an own step, in bytes.
pub const MAX_WASM_BYTES: u64 = 4 * 1024 * 1024;
/// Largest expected result, in bytes.
const MAX_EXPECT_BYTES: u64 = 4 * 1024 * 1024;

/// A file of a package folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Path, with `/` between parts.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
}

/// Every named file must be there and not empty, and every file legal: its path, and its kind as far as the name tells. Files that nobody
/// names are allowed and packed too. `source` is the text that `app` was read from: a fault of a named file stands at the line that names
/// the file.
pub fn check_files(app: &AppManifest, source: &str, files: &[FileEntry]) -> Vec<Fault> {
    let mut faults = Faults::default();
    // The text is read a second time, for its lines only: `app` came from it without a fault.
    let tree = if source.len() <= MAX_YAML_BYTES { yaml::read(source, &mut Faults::default()) } else { None };
    let at = |fault: Fault| {
        let line = tree.as_ref().and_then(|tree| line_of(tree, &fault.key));
        Fault { line, ..fault }
    };
    if files.len() > MAX_FILES {
        faults.push(Fault::new("too-many-files", "").with("value", files.len()).with("max", MAX_FILES));
    }
    let mut by_path: HashMap<&str, u64> = HashMap::new();
    let mut folded: HashMap<String, &str> = HashMap::new();
    for file in files.iter().take(MAX_FILES) {
        // `with` also cleans the path for showing; the key must not carry a hostile one.
        if let Err(why) = PackagePath::parse(&file.path) {
            faults.push(Fault::new(why.code(), "").with("value", &file.path));
            continue;
        }
        by_path.insert(&file.path, file.size);
        if path::is_left_out(&file.path) {
            faults.push(Fault::new("file-hidden", file.path.clone()).with("value", &file.path));
        }
        let code = match file_kind::of_name(&file.path) {
            // A module that no step runs is a program that nothing bounds.
            Ok(FileKind::Wasm) if app.wasm_steps().all(|step| step.file != file.path) => Refused::Program.fault(),
            Ok(_) => None,
            Err(why) => why.fault(),
        };
        if let Some(code) = code {
            faults.push(Fault::new(code, file.path.clone()).with("value", &file.path));
        }
        if file.size > MAX_FILE_BYTES {
            faults.push(Fault::new("file-too-large", file.path.clone()).with("value", file.size).with("max", MAX_FILE_BYTES));
        }
        // Two files that differ in case only overwrite each other on Windows and macOS.
        if let Some(other) = folded.insert(file.path.to_lowercase(), &file.path) {
            faults.push(Fault::new("file-twice", file.path.clone()).with("value", &file.path).with("hint", other));
        }
    }
    for file in files.iter().take(MAX_FILES) {
        // No file system can hold a file and a folder of one name; the folder's files would be lost when the package is laid out.
        let name = file.path.to_lowercase();
        let taken = name.match_indices('/').find_map(|(at, _)| folded.get(name.get(..at)?));
        if let (Some(other), Ok(path)) = (taken, PackagePath::parse(&file.path)) {
            faults.push(Fault::new("file-and-folder", path.as_str()).with("value", &file.path).with("hint", other));
        }
    }
    for (key, path, max) in named(app) {
        match by_path.get(path) {
            None => faults.push(at(Fault::new("file-missing", key).with("value", path))),
            Some(0) => faults.push(at(Fault::new("file-empty", key).with("value", path))),
            Some(size) if *size > max => {
                faults.push(at(Fault::new("file-too-large", key).with("value", size).with("max", max)));
            }
            Some(_) => {}
        }
    }
    faults.finish()
}

/// The line of a key such as `models[0].file`.
fn line_of(tree: &Node, key: &str) -> Option<u32> {
    let mut node = tree;
    for part in key.split('.') {
        let (name, index) = part.split_once('[').map_or((part, None), |(name, rest)| (name, rest.strip_suffix(']')));
        node = node.get(name)?;
        if let Some(index) = index {
            node = node.items().get(index.parse::<usize>().ok()?)?;
        }
    }
    Some(node.line)
}

/// Every file that the manifest names, with its key and largest size.
fn named(app: &AppManifest) -> Vec<(String, &str, u64)> {
    let models = app.models.iter().enumerate().map(|(i, m)| (format!("models[{i}].file"), m.file.as_str(), MAX_FILE_BYTES));
    let steps = app.steps.iter().enumerate().flat_map(|(i, step)| match step {
        Step::Model(m) => {
            let posts = m.post.iter().enumerate();
            let beside = posts.filter_map(|(j, post)| {
                let (key, file) = post.file()?;
                Some((format!("steps[{i}].model.post[{j}].{key}"), file, MAX_BESIDE_BYTES))
            });
            std::iter::once((format!("steps[{i}].model.file"), m.file.as_str(), MAX_FILE_BYTES)).chain(beside).collect::<Vec<_>>()
        }
        Step::Wasm(own) => vec![(format!("steps[{i}].wasm.file"), own.file.as_str(), MAX_WASM_BYTES)],
        Step::Track(_) => Vec::new(),
    });
    let golden = app.golden.iter().enumerate().flat_map(|(i, g)| {
        [
            (format!("golden[{i}].input"), g.input.as_str(), MAX_INPUT_BYTES),
            (format!("golden[{i}].expect"), g.expect.as_str(), MAX_EXPECT_BYTES),
        ]
    });
    let media = app.media.iter().enumerate().map(|(i, m)| (format!("media[{i}].file"), m.file.as_str(), MAX_MEDIA_BYTES));
    models.chain(steps).chain(golden).chain(media).collect()
}
