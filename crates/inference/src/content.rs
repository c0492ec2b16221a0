//! What a package must not hold: programs, and secrets that its author forgot in it.
//!
//! An app is data: a model, texts, pictures. A program among them is never run, but whoever takes the package apart might; a private key
//! or an access token in it is lost to its owner the moment somebody pulls it. Both are told by file, never by the secret itself.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crate::error::{AppError, Result};

/// Bytes of a text that are looked at; what is longer is data.
const MAX_TEXT: u64 = 4 << 20;
/// Files of a package, as `app_package::validate` has it.
const MAX_FILES: usize = 2_000;
/// Folders within folders.
const MAX_DEPTH: u32 = 32;

/// First bytes of programs: ELF, the four byte orders of Mach-O and its fat form, WebAssembly, a script's first line.
const PROGRAMS: [(&[u8], &str); 8] = [
    (b"\x7fELF", "an ELF program"),
    (b"\xfe\xed\xfa\xce", "a Mach-O program"),
    (b"\xfe\xed\xfa\xcf", "a Mach-O program"),
    (b"\xce\xfa\xed\xfe", "a Mach-O program"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O program"),
    (b"\xca\xfe\xba\xbe", "a Mach-O program or Java class"),
    (b"\0asm", "a WebAssembly program"),
    (b"#!", "a script"),
];
/// Endings that Windows and its shells run, or that load code when they are opened (pickles).
const ENDINGS: [&str; 14] = ["exe", "dll", "so", "dylib", "bat", "cmd", "ps1", "vbs", "msi", "scr", "jar", "pkl", "pickle", "pt"];

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

/// Looks at every file below `root`. Codes `program-in-package`, `secret-in-package`, `file-outside` (a link), `file-unreadable`.
pub fn scan(root: &Path) -> Result<()> {
    for (path, name) in files(root)? {
        let unreadable = |e: std::io::Error| AppError::new("file-unreadable", format!("`{name}`: {e}"));
        let file = File::open(&path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut start = Vec::new();
        file.take(MAX_TEXT).read_to_end(&mut start).map_err(unreadable)?;
        if let Some(what) = program(&name, &start) {
            return Err(AppError::new("program-in-package", format!("`{name}` is {what}")));
        }
        let is_text = size <= MAX_TEXT && std::str::from_utf8(&start).is_ok();
        if let Some(what) = std::str::from_utf8(&start).ok().filter(|_| is_text).and_then(secret) {
            return Err(AppError::new("secret-in-package", format!("`{name}` holds {what}")));
        }
    }
    Ok(())
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

fn program(name: &str, start: &[u8]) -> Option<&'static str> {
    if let Some((_, what)) = PROGRAMS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(what);
    }
    // DOS and Windows: "MZ", and at 0x3c where the "PE" header lies.
    let header = start.get(0x3c..0x40).and_then(|at| at.try_into().ok()).map(u32::from_le_bytes).and_then(|at| usize::try_from(at).ok());
    if start.starts_with(b"MZ") && header.and_then(|at| start.get(at..at.checked_add(2)?)) == Some(b"PE") {
        return Some("a Windows program");
    }
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase())?;
    ENDINGS.contains(&ending.as_str()).then_some("of a kind that runs code")
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
    fn programs_are_told_by_their_bytes_and_by_their_names() {
        for (name, bytes) in [
            ("labels.txt", b"\x7fELF\x02\x01".as_slice()),
            ("run", b"#!/bin/sh\n"),
            ("weights.pt", b"PK\x03\x04"),
            ("setup.EXE", b"data"),
            ("a.wasm", b"\0asm\x01"),
        ] {
            assert!(program(name, bytes).is_some(), "{name}");
        }
        let mut pe = vec![0; 0x80];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 0x40;
        pe[0x40..0x42].copy_from_slice(b"PE");
        assert_eq!(program("x.bin", &pe), Some("a Windows program"));
        for (name, bytes) in
            [("model.onnx", b"\x08\x09".as_slice()), ("MZ.txt", b"MZ is a word"), ("a.png", b"\x89PNG"), ("readme", b"# Title")]
        {
            assert_eq!(program(name, bytes), None, "{name}");
        }
    }

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

    #[test]
    fn a_folder_is_looked_at_whole() {
        let root = std::env::temp_dir().join(format!("pithead-content-{}", std::process::id()));
        std::fs::create_dir_all(root.join("docs/deep")).unwrap();
        std::fs::write(root.join("app.yaml"), "name: x").unwrap();
        std::fs::write(root.join("docs/deep/notes.md"), "fine").unwrap();
        scan(&root).unwrap();
        std::fs::write(root.join("docs/deep/key.pem"), "-----BEGIN PRIVATE KEY-----").unwrap();
        let error = scan(&root).unwrap_err();
        assert_eq!(error.code, "secret-in-package");
        assert!(error.message.contains("docs/deep/key.pem"), "{}", error.message);
        std::fs::remove_file(root.join("docs/deep/key.pem")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("docs/link")).unwrap();
        assert_eq!(scan(&root).unwrap_err().code, "file-outside");
        std::fs::remove_dir_all(root).unwrap();
    }
}
