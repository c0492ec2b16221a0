//! A provider in ONNX Runtime: registered once for a process, then given to each session.

use app_package::manifest::Provider;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider as _, ExecutionProviderDispatch};
use ort::{environment::Environment, memory::DeviceType, session::Session, session::builder::SessionBuilder};

use super::{defined_version, named_version};
use crate::error::{AppError, Result};
use crate::provider::Library;

/// A provider that sessions can run on.
#[derive(Debug)]
pub(super) struct Accelerated {
    pub provider: Provider,
    /// As [`crate::provider::ProviderInfo::version`].
    pub version: String,
    /// The plugin's own name for its provider; none for one that is built in.
    plugin: Option<String>,
}

impl Accelerated {
    /// Registers the library and looks whether it has the provider and a device for it. `runtime` is the version of the ONNX Runtime that is
    /// loaded. Codes `provider-missing`, `provider-no-device`.
    pub fn register(environment: &Environment, library: &Library, runtime: &str) -> Result<Self> {
        let provider = library.provider;
        let missing = |e: String| {
            // What stands before is where in its source the engine says so.
            let words = e.rsplit_once(" : FAIL : ").map_or(e.as_str(), |(_, words)| words).trim();
            AppError::new("provider-missing", format!("{} from {}: {words}", provider.as_str(), library.file.display()))
        };
        if library.is_runtime() {
            let own = Self { provider, version: runtime.to_owned(), plugin: None };
            // Appending loads the provider's own library, so what that lacks shows here.
            let builder = Session::builder(environment).map_err(|e| missing(e.to_string()))?;
            own.on(environment, builder, 1, false).map_err(missing)?;
            return Ok(own);
        }
        let file = std::fs::canonicalize(&library.file).map_err(|e| missing(e.to_string()))?;
        let before = names(environment);
        environment.register_ep_library(provider.as_str(), &file).map_err(|e| missing(e.to_string()))?;
        let new: Vec<String> = names(environment).into_iter().filter(|name| !before.contains(name)).collect();
        if new.is_empty() {
            let message = format!("{} runs on nothing that this machine has", provider.as_str());
            return Err(AppError::new("provider-no-device", message));
        }
        let plugin = new.iter().find(|name| name.to_lowercase().contains(provider.as_str()));
        let plugin = plugin.ok_or_else(|| missing(format!("it has {}, not {}", new.join(", "), provider.as_str())))?.clone();
        let version = named_version(&file).or_else(|| defined_version(std::fs::File::open(&file).ok()?)).unwrap_or_default();
        let own = Self { provider, version, plugin: Some(plugin) };
        if own.devices(environment).is_empty() {
            let message = format!("{} has no device of the kind `{}` here", provider.as_str(), own.device());
            return Err(AppError::new("provider-no-device", message));
        }
        Ok(own)
    }

    /// What it runs on: `cpu`, `gpu`, `npu`.
    pub fn device(&self) -> &'static str {
        match self.provider {
            Provider::Cpu | Provider::OpenVino => "cpu",
            Provider::Cuda => "gpu",
            Provider::Cann => "npu",
        }
    }

    /// As [`crate::provider::ProviderInfo::precision`].
    pub fn precision(&self) -> &'static str {
        if self.provider == Provider::OpenVino { "FP32" } else { "model" }
    }

    /// The builder with this provider; `alone` refuses a model of which it does not take all.
    pub fn on(&self, environment: &Environment, builder: SessionBuilder, threads: usize, alone: bool) -> Result<SessionBuilder, String> {
        let builder = if alone { builder.with_config_entry("session.disable_cpu_ep_fallback", "1") } else { Ok(builder) };
        let builder = builder.map_err(|e| e.to_string())?;
        let added = match &self.plugin {
            None => builder.with_execution_providers([self.built_in(threads).error_on_failure()]),
            Some(name) => {
                let options: Vec<(String, String)> =
                    self.options(threads).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)).collect();
                builder.with_devices(self.devices(environment).into_iter().take(1), Some(&options))
            }
        };
        added.map_err(|e| e.to_string())
    }

    /// Devices of the plugin of the kind that the provider is used for.
    fn devices<'e>(&self, environment: &'e Environment) -> Vec<ort::device::Device<'e>> {
        let kind = match self.device() {
            "cpu" => DeviceType::CPU,
            "gpu" => DeviceType::GPU,
            _ => DeviceType::NPU,
        };
        let own = |device: &ort::device::Device<'_>| device.ep().ok() == self.plugin.as_deref() && device.hardware_device().ty() == kind;
        environment.devices().filter(own).collect()
    }

    /// Options that keep the precision of what was trained and checked, in the provider's own words: each of them computes in less unless told.
    /// OpenVINO takes BF16 where the processor has it, and its option `precision` is not heeded; CUDA rounds to TF32, CANN to FP16. Of
    /// OpenVINO threads are not bound to cores either: a node runs several apps on the same ones.
    fn options(&self, threads: usize) -> Vec<(&'static str, String)> {
        match self.provider {
            Provider::Cpu => Vec::new(),
            Provider::OpenVino => {
                let own = serde_json::json!({
                    "CPU": { "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads.max(1), "ENABLE_CPU_PINNING": false }
                });
                vec![("load_config", own.to_string())]
            }
            Provider::Cuda => vec![("use_tf32", "0".to_owned())],
            Provider::Cann => vec![("precision_mode", "must_keep_origin_dtype".to_owned())],
        }
    }

    /// The provider as ONNX Runtime has it built in.
    fn built_in(&self, threads: usize) -> ExecutionProviderDispatch {
        let options = self.options(threads).into_iter();
        match self.provider {
            Provider::Cpu => ep::CPU::default().build(),
            Provider::OpenVino => {
                let own = ep::OpenVINO::default().with_device_type("CPU");
                options.fold(own, |own, (key, value)| own.with_arbitrary_config(key, value)).build()
            }
            Provider::Cuda => options.fold(ep::CUDA::default(), |own, (key, value)| own.with_arbitrary_config(key, value)).build(),
            Provider::Cann => options.fold(ep::CANN::default(), |own, (key, value)| own.with_arbitrary_config(key, value)).build(),
        }
    }
}

/// Names of the providers that have a device here.
fn names(environment: &Environment) -> Vec<String> {
    let mut names: Vec<String> = environment.devices().filter_map(|device| device.ep().ok().map(str::to_owned)).collect();
    names.dedup();
    names
}
