//! A column of the run card: an app on a provider in the CPU's place, as a check of its own has found it.

use app_package::manifest::Provider;
use serde::{Deserialize, Serialize};

use crate::check::CheckReport;
use crate::measure::{Latency, Throughput};
use crate::provider::ProviderInfo;

/// Why there are no figures where whoever checks has no library of the provider.
pub const NOT_HERE: &str = "provider-not-here";

/// What was found on one provider. The CPU's column is the card itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub provider: Provider,
    /// Version, device and precision; none where it was not tried or could not be loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<ProviderInfo>,
    /// Why the app does not pass on it: a code of a check's step, `provider-missing`, `provider-no-device`, or [`NOT_HERE`]. None where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Golden samples that were reproduced, of so many.
    pub reproduced: u32,
    pub total: u32,
    /// Largest difference from an expected score or value.
    pub worst_difference: f64,
    /// Figures, where it passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
}

/// What was measured on a provider, as [`crate::check::RunCard`] has it of the CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub latency_ms: Latency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<Throughput>,
    pub load_ms: f64,
    pub peak_memory_bytes: u64,
}

impl Column {
    /// A provider that the app names and whoever checks does not have.
    pub fn not_here(provider: Provider) -> Self {
        let (about, detail, figures) = (None, None, None);
        Self { provider, about, reason: Some(NOT_HERE.to_owned()), detail, reproduced: 0, total: 0, worst_difference: 0.0, figures }
    }

    /// What a check on this provider has found.
    pub fn of(provider: Provider, report: CheckReport) -> Self {
        let failed = report.steps.into_iter().find(|step| !step.ok);
        let (reason, detail) = failed.map_or((None, None), |step| (step.reason.or(Some(step.code)), step.detail));
        let golden = report.golden.unwrap_or_default();
        let figures = report.run_card.map(|card| Figures {
            latency_ms: card.latency_ms,
            throughput: card.throughput,
            load_ms: card.load_ms,
            peak_memory_bytes: card.peak_memory_bytes,
        });
        Self {
            provider,
            about: report.provider,
            reason,
            detail,
            reproduced: golden.reproduced,
            total: golden.total,
            worst_difference: golden.samples.iter().map(|sample| sample.worst_difference).fold(0.0, f64::max),
            figures,
        }
    }
}
