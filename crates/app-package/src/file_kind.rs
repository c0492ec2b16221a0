//! What a file of a package may be, by its name. An app is data: a model, texts, tables, pictures. The bytes of a file are looked at in the
//! check.

use crate::path::extension;

/// A kind of file that a package may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A model.
    Onnx,
    /// Text that people read: notes, licences.
    Text,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// A table.
    Csv,
    /// PNG picture.
    Png,
    /// JPEG picture.
    Jpeg,
    /// WebP picture.
    Webp,
    /// WAV sound.
    Wav,
    /// AVI clip.
    Avi,
    /// External data of a model; only where a model names it.
    Data,
    /// A WebAssembly module; only where a step names it.
    Wasm,
}

/// Why a file may not be in a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Programs and scripts.
    Program,
    /// Formats that run code when they are opened.
    Pickle,
    /// Files that hold files, which could not be seen.
    Archive,
    /// None of the kinds that a package is made of.
    Unknown,
}

impl Refused {
    /// The fault of a file that no content could excuse; `None` where a model may still name the file as its data.
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::Program => Some("file-program"),
            Self::Pickle => Some("file-pickle"),
            Self::Archive => Some("file-archive"),
            Self::Unknown => None,
        }
    }
}

const PROGRAMS: &[&str] = &[
    "apk", "app", "bash", "bat", "class", "cmd", "com", "deb", "dll", "dylib", "exe", "hta", "htm", "html", "ipynb", "js", "lnk", "lua",
    "mjs", "msi", "php", "pl", "ps1", "py", "pyc", "pyd", "rb", "reg", "rpm", "scr", "sh", "so", "svg", "vbs", "zsh",
];
/// `npy` and `npz` may hold pickled objects; Keras layers and HDF5 configurations may hold marshalled functions.
const PICKLES: &[&str] =
    &["ckpt", "dill", "h5", "hdf5", "joblib", "keras", "mar", "npy", "npz", "pickle", "pkl", "pt", "pt2", "pth", "rds", "torchscript"];
const ARCHIVES: &[&str] =
    &["7z", "br", "bz2", "cab", "gz", "iso", "jar", "lz4", "rar", "tar", "tbz2", "tgz", "txz", "whl", "xz", "zip", "zst"];
/// Names of texts that have no ending, or one of their own (`LICENSE-MIT`, `NOTICE.Apache`).
const TEXTS: &[&str] = &["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "README", "CHANGELOG", "AUTHORS"];

/// The kind that a file's name promises.
///
/// # Errors
/// Why no package holds a file of that name.
pub fn of_name(path: &str) -> Result<FileKind, Refused> {
    let ending = extension(path);
    let ending = ending.as_str();
    Ok(match ending {
        "onnx" => FileKind::Onnx,
        "txt" | "md" => FileKind::Text,
        "yaml" | "yml" => FileKind::Yaml,
        "json" => FileKind::Json,
        "csv" => FileKind::Csv,
        "png" => FileKind::Png,
        "jpg" | "jpeg" => FileKind::Jpeg,
        "webp" => FileKind::Webp,
        "wav" => FileKind::Wav,
        "wasm" => FileKind::Wasm,
        "avi" => FileKind::Avi,
        "bin" | "data" | "pb" | "onnx_data" => FileKind::Data,
        _ if PROGRAMS.contains(&ending) => return Err(Refused::Program),
        _ if PICKLES.contains(&ending) => return Err(Refused::Pickle),
        _ if ARCHIVES.contains(&ending) => return Err(Refused::Archive),
        _ => {
            let name = path.rsplit('/').next().unwrap_or(path).to_ascii_uppercase();
            let rest = TEXTS.iter().find_map(|text| name.strip_prefix(text));
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.'])) {
                FileKind::Text
            } else {
                return Err(Refused::Unknown);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kinds() {
        for (path, kind) in [
            ("model.onnx", Ok(FileKind::Onnx)),
            ("a/b/Cover.JPEG", Ok(FileKind::Jpeg)),
            ("golden/fan.WAV", Ok(FileKind::Wav)),
            ("golden/walk.avi", Ok(FileKind::Avi)),
            ("LICENSE", Ok(FileKind::Text)),
            ("docs/licence-mit", Ok(FileKind::Text)),
            ("NOTICE.Apache-2.0", Ok(FileKind::Text)),
            ("model.onnx.data", Ok(FileKind::Data)),
            ("step.wasm", Ok(FileKind::Wasm)),
            ("weights/layer.0.weight", Err(Refused::Unknown)),
            ("LICENSES", Err(Refused::Unknown)),
            ("manual.pdf", Err(Refused::Unknown)),
            ("noending", Err(Refused::Unknown)),
            ("LICENSE.exe", Err(Refused::Program)),
            ("train.py", Err(Refused::Program)),
            ("model.PT", Err(Refused::Pickle)),
            ("scaler.joblib", Err(Refused::Pickle)),
            ("all.tar.gz", Err(Refused::Archive)),
        ] {
            assert_eq!(of_name(path), kind, "{path}");
        }
    }
}
