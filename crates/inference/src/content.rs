//! What a package holds: only the kinds of file that an app is made of, each being what its name says, and no secret.
//!
//! An app is data: a model, texts, tables, pictures. A program among them is never run, but whoever takes the package apart might; in an
//! archive nothing could be seen; a pickle runs code when it is opened. A private key or an access token in a package is lost to its owner
//! the moment somebody pulls the package; the fault names the file, never the secret itself.

mod kind;

use std::{
    collections::HashSet,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use app_package::{
    file_kind::{self, FileKind, Refused},
    path, text,
};

use crate::{
    error::{AppError, Result},
    model_file,
};

/// Bytes of a file that are looked at; a longer text is taken as data and not searched for secrets.
const MAX_TEXT: u64 = 4 << 20;
/// Files of a package, as `app_package::validate` has it.
const MAX_FILES: usize = 2_000;
/// Deepest nesting of folders.
const MAX_DEPTH: u32 = 32;

/// How a secret begins, and how many letters, digits, `_` or `-` follow at least. From the issuers' own documents.
const TOKENS: [(&str, usize, &str); 9] = [
    ("AKIA", 16, "an AWS access key"),
    ("ASIA", 16, "an AWS access key"),
    ("LTAI", 16, "an Alibaba Cloud access key"),
    ("AKID", 32, "a Tencent Cloud secret id"),
    ("ghp_", 36, "a GitHub token"),
    ("github_pat_", 60, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("xoxb-", 20, "a Slack token"),
    ("pht_", 40, "a token of this platform"),
];

/// Looks at every file below `root` but those that packages leave out ([`path::is_left_out`]): a developer's folder has some. Codes
/// `program-in-package`, `pickle-in-package`, `archive-in-package`, `file-kind-unknown`, `file-kind-mismatch`, `secret-in-package`,
/// `file-outside` (a link), `file-unreadable`, and those of [`model_file::inspect`] for each model.
pub fn scan(root: &Path) -> Result<()> {
    let files = files(root)?;
    let data = external_data(root, &files)?;
    for (path, name) in files {
        let unreadable = |e: std::io::Error| AppError::new("file-unreadable", format!("`{name}`: {e}"));
        let mut file = File::open(&path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut start = Vec::new();
        file.by_ref().take(MAX_TEXT).read_to_end(&mut start).map_err(unreadable)?;
        let mut last = Vec::new();
        if size > 0 {
            file.seek(SeekFrom::Start(size - 1)).and_then(|_| file.take(1).read_to_end(&mut last)).map_err(unreadable)?;
        }
        // A module that a step names; one that none names is refused by its name (`validate::check_files`).
        let is_module = file_kind::of_name(&name) == Ok(FileKind::Wasm) && start.starts_with(kind::WASM);
        if let Some((why, what)) = kind::refused(&start, last.first().copied()).filter(|_| !is_module) {
            return Err(refused(&name, why, what));
        }
        let kind = match file_kind::of_name(&name) {
            Ok(kind) if kind != FileKind::Data => kind,
            Ok(_) | Err(Refused::Unknown) if data.contains(&path) => FileKind::Data,
            Ok(_) => return Err(refused(&name, Refused::Unknown, "data that no model names")),
            Err(why) => return Err(refused(&name, why, "of a kind that a package does not hold")),
        };
        let whole = size <= MAX_TEXT;
        if let Some(what) = kind::differs(kind, &start, whole) {
            let is_text = matches!(kind, FileKind::Text | FileKind::Yaml | FileKind::Json | FileKind::Csv);
            let found = if is_text && text::is_utf16(&start) { "is UTF-16, not" } else { "is not" };
            return Err(AppError::new("file-kind-mismatch", format!("`{name}` {found} {what}")));
        }
        if let Some(what) = std::str::from_utf8(&start).ok().filter(|_| whole).and_then(secret) {
            return Err(AppError::new("secret-in-package", format!("`{name}` holds {what}")));
        }
    }
    Ok(())
}

fn refused(name: &str, why: Refused, what: &str) -> AppError {
    let code = match why {
        Refused::Program => "program-in-package",
        Refused::Pickle => "pickle-in-package",
        Refused::Archive => "archive-in-package",
        Refused::Unknown => "file-kind-unknown",
    };
    AppError::new(code, format!("`{name}` is {what}"))
}

/// Files that the models of the package name as their external data.
fn external_data(root: &Path, files: &[(PathBuf, String)]) -> Result<HashSet<PathBuf>> {
    let mut named = HashSet::new();
    for (path, name) in files.iter().filter(|(_, name)| file_kind::of_name(name) == Ok(FileKind::Onnx)) {
        let data = model_file::external_data(root, path).map_err(|e| match e.code {
            "not-onnx" => AppError::new("file-kind-mismatch", format!("`{name}`: {}", e.message)),
            code => AppError::new(code, format!("`{name}`: {}", e.message)),
        })?;
        named.extend(data);
    }
    Ok(named)
}

/// Path and name in the package of every file, in order of names.
fn files(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let unreadable = |e: std::io::Error| AppError::new("file-unreadable", e.to_string());
    let (mut found, mut open) = (Vec::new(), vec![(root.to_owned(), 0)]);
    while let Some((folder, depth)) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(unreadable)?);
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            if path::is_left_out(&name) {
                continue;
            }
            if kind.is_dir() && depth < MAX_DEPTH {
                open.push((path, depth + 1));
            } else if kind.is_file() && found.len() < MAX_FILES {
                found.push((path, name));
            } else {
                return Err(AppError::new("file-outside", format!("`{name}` is no plain file, or there are too many")));
            }
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

fn secret(text: &str) -> Option<&'static str> {
    if text.lines().any(|line| line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----")) {
        return Some("a private key");
    }
    TOKENS.iter().find_map(|(prefix, least, what)| {
        text.match_indices(prefix).find_map(|(at, _)| {
            let (before, after) = (text.get(..at)?, text.get(at + prefix.len()..)?);
            let part_of_a_word = before.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
            let length = after.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
            (!part_of_a_word && length >= *least).then_some(*what)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_and_words_that_look_alike_are_not() {
        for text in [
            "x\n-----BEGIN RSA PRIVATE KEY-----\n",
            "key: AKIAIOSFODNN7EXAMPLE",
            "token=ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "pht_0123456789abcdefghijABCDEFGHIJ0123456789abc",
        ] {
            assert!(secret(text).is_some(), "{text}");
        }
        for text in ["-----BEGIN CERTIFICATE-----", "AKIA short", "myAKIAIOSFODNN7EXAMPLE", "ghp_", "a plain readme"] {
            assert_eq!(secret(text), None, "{text}");
        }
    }

    /// Temporary folder of one test; removed on drop.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("pithead-content-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&root).unwrap();
            Self(root)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_must_be_of_a_kind_that_apps_are_made_of_and_be_what_its_name_says() {
        let folder = Folder::new("kinds");
        let model = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models/identity4.onnx")).unwrap();
        let (png, jpeg) = (b"\x89PNG\r\n\x1a\n\0", b"\xff\xd8\xff\xe0\0");
        for (name, bytes, code) in [
            ("model.onnx", model.as_slice(), None),
            ("LICENSE", b"Apache License", None),
            ("a.md", "煤矸石 # ok".as_bytes(), None),
            ("a.json", b"{\"values\": []}", None),
            ("a.csv", b"\xef\xbb\xbfa,b\n1,2\n", None),
            ("a.png", png, None),
            ("a.jpg", jpeg, None),
            ("a.webp", b"RIFF\0\0\0\0WEBPVP8 ", None),
            ("a.png", jpeg, Some("file-kind-mismatch")),
            ("a.jpg", b"<svg/>", Some("file-kind-mismatch")),
            ("a.txt", b"\0\x01\x02", Some("file-kind-mismatch")),
            ("a.csv", b"\xff\xfea\0,\0b\0", Some("file-kind-mismatch")),
            ("b.json", b"\xff\xfe{\0}\0", Some("file-kind-mismatch")),
            ("a.json", b"{'values': 1}", Some("file-kind-mismatch")),
            ("b.onnx", png, Some("file-kind-mismatch")),
            ("weights.bin", b"\0\0\x80\x3f", Some("file-kind-unknown")),
            ("manual.pdf", b"%PDF-1.7", Some("file-kind-unknown")),
            (".DS_Store", b"\0\0\0\x01Bud1", None),
            ("Thumbs.db", b"\xd0\xcf\x11\xe0", None),
            ("b.json", b"\xef\xbb\xbf{\"values\": []}", None),
            ("train.py", b"import os", Some("program-in-package")),
            ("a.txt", b"#!/bin/sh\n", Some("program-in-package")),
            ("scaler.pkl", b"x", Some("pickle-in-package")),
            ("a.txt", b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x02os\x94.", Some("pickle-in-package")),
            ("more.zip", b"x", Some("archive-in-package")),
            ("a.md", b"PK\x03\x04\x14\0", Some("archive-in-package")),
        ] {
            let path = folder.0.join(name);
            std::fs::write(&path, bytes).unwrap();
            let outcome = scan(&folder.0);
            std::fs::remove_file(path).unwrap();
            assert_eq!(outcome.as_ref().err().map(|e| e.code), code, "{name}: {outcome:?}");
            assert!(outcome.err().is_none_or(|e| e.message.contains(name)), "{name}");
        }
    }

    #[test]
    fn data_is_taken_where_a_model_names_it() {
        let folder = Folder::new("data");
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models");
        for name in ["external_ok.onnx", "weights.bin"] {
            std::fs::copy(format!("{models}/{name}"), folder.0.join(name)).unwrap();
        }
        scan(&folder.0).unwrap();
        std::fs::copy(folder.0.join("weights.bin"), folder.0.join("other.bin")).unwrap();
        assert_eq!(scan(&folder.0).unwrap_err().code, "file-kind-unknown");
        std::fs::remove_file(folder.0.join("other.bin")).unwrap();
        // A program is refused also where a model names it as data.
        std::fs::write(folder.0.join("weights.bin"), b"\x7fELF\x02").unwrap();
        assert_eq!(scan(&folder.0).unwrap_err().code, "program-in-package");
    }

    #[test]
    fn a_folder_is_looked_at_whole() {
        let folder = Folder::new("whole");
        let root = &folder.0;
        std::fs::create_dir_all(root.join("docs/deep")).unwrap();
        std::fs::write(root.join("app.yaml"), "name: x").unwrap();
        std::fs::write(root.join("docs/deep/notes.md"), "fine").unwrap();
        scan(root).unwrap();
        std::fs::write(root.join("docs/deep/key.txt"), "-----BEGIN PRIVATE KEY-----").unwrap();
        let error = scan(root).unwrap_err();
        assert_eq!(error.code, "secret-in-package");
        assert!(error.message.contains("docs/deep/key.txt"), "{}", error.message);
        std::fs::remove_file(root.join("docs/deep/key.txt")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("docs/link")).unwrap();
        assert_eq!(scan(root).unwrap_err().code, "file-outside");
    }
}
