//! Execution providers: what ONNX Runtime runs models on besides its own code for the CPU, and the libraries that they come from.
//!
//! A provider comes as a plugin, which any ONNX Runtime loads, or built into an ONNX Runtime of its own. There is one for a process: it is
//! as untrusted to stay alive as a model is, and its figures are of nothing else.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use app_package::manifest::Provider;
use serde::{Deserialize, Serialize};

use crate::error::{AppError, Result};

/// Memory in bytes that a process with a provider may take beyond one without: its own code, and the model as it compiles it.
pub const MEMORY: u64 = 512 << 20;

/// A provider's library, as settings name it: `openvino=/opt/openvino/libonnxruntime_providers_openvino_plugin.so`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Never the CPU.
    pub provider: Provider,
    /// A plugin, or an ONNX Runtime that has the provider built in: then its name begins with `libonnxruntime.so`.
    pub file: PathBuf,
}

impl Library {
    /// Whether this is an ONNX Runtime with the provider built in, as its makers' wheels have it, and no plugin.
    pub fn is_runtime(&self) -> bool {
        self.file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
    }

    /// Folders that a confined process must be able to read: a provider opens its own parts by path, beside its file.
    pub fn folders(&self) -> Vec<PathBuf> {
        let real = std::fs::canonicalize(&self.file).ok();
        let folder = |file: &Path| file.parent().map(Path::to_owned);
        [folder(&self.file), real.as_deref().and_then(folder)].into_iter().flatten().collect()
    }

    /// With an absolute path: children work in `/`.
    pub fn absolute(self) -> std::io::Result<Self> {
        Ok(Self { file: std::path::absolute(&self.file)?, ..self })
    }
}

impl FromStr for Library {
    type Err = AppError;

    /// Code `provider-setting`.
    fn from_str(text: &str) -> Result<Self> {
        let words = || Provider::NAMED.map(Provider::as_str).join(", ");
        let wrong = || AppError::new("provider-setting", format!("`{text}` is not NAME=LIBRARY, with one of the names {}", words()));
        let (name, file) = text.split_once('=').filter(|(_, file)| !file.is_empty()).ok_or_else(wrong)?;
        let provider = Provider::NAMED.into_iter().find(|provider| provider.as_str() == name).ok_or_else(wrong)?;
        Ok(Self { provider, file: file.into() })
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.provider.as_str(), self.file.display())
    }
}

/// The libraries, with absolute paths, if no provider has two; code `provider-setting`.
pub fn distinct(libraries: Vec<Library>) -> Result<Vec<Library>> {
    let mut seen = HashSet::new();
    if let Some(twice) = libraries.iter().find(|library| !seen.insert(library.provider)) {
        return Err(AppError::new("provider-setting", format!("`{}` has two libraries; name one", twice.provider.as_str())));
    }
    let absolute = libraries.into_iter().map(Library::absolute).collect::<std::io::Result<_>>();
    absolute.map_err(|e| AppError::new("provider-setting", e.to_string()))
}

/// What a provider is, as it was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderInfo {
    pub name: Provider,
    /// Version of the library that it came from, which of one built in is ONNX Runtime's; empty where the library does not tell.
    pub version: String,
    /// `cpu`, `gpu`, `npu`.
    pub device: String,
    /// In what it computes: `FP32` where that is demanded of it whatever the model says, `model` where each tensor's own type is kept.
    pub precision: String,
    /// It has taken a part of a model only, or nothing, and ONNX Runtime's code for the CPU runs the rest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_part: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_named() {
        let library: Library = "openvino=/opt/a=b/libonnxruntime_providers_openvino_plugin.so.1.8.1".parse().unwrap();
        assert_eq!((library.provider, library.is_runtime()), (Provider::OpenVino, false));
        assert_eq!(library.to_string().parse::<Library>().unwrap(), library);
        assert!("cuda=lib/libonnxruntime.so.1.31.1".parse::<Library>().unwrap().is_runtime());
        for text in ["", "openvino", "openvino=", "cpu=/lib/x.so", "tensorrt=/x.so", "=/x.so", "OpenVINO=/x.so"] {
            assert_eq!(text.parse::<Library>().unwrap_err().code, "provider-setting", "{text}");
        }
        let of = |texts: &[&str]| distinct(texts.iter().map(|text| text.parse().unwrap()).collect());
        assert!(of(&["openvino=/a.so", "cuda=b.so"]).unwrap().iter().all(|library| library.file.is_absolute()));
        assert_eq!(of(&["openvino=/a.so", "openvino=/b.so"]).unwrap_err().code, "provider-setting");
    }
}
