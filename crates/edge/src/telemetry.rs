//! Figures of the node and its apps, for heartbeats and `/metrics`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// Latencies kept for the quantiles.
const WINDOW: usize = 512;

/// Counters of one release in one deployment since the start of the agent.
#[derive(Default)]
pub struct Stats {
    /// Inferences done.
    pub inferences: AtomicU64,
    /// Inferences failed.
    pub errors: AtomicU64,
    /// Restarts of the child after it ended by itself.
    pub restarts: AtomicU64,
    /// Time of all that were done, and of all that failed, in nanoseconds.
    pub done_ns: AtomicU64,
    pub failed_ns: AtomicU64,
    latencies: Mutex<VecDeque<f64>>,
}

impl Stats {
    /// Counts one inference.
    pub fn record(&self, ok: bool, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if !ok {
            self.errors.fetch_add(1, Ordering::Relaxed);
            self.failed_ns.fetch_add(ns, Ordering::Relaxed);
            return;
        }
        self.done_ns.fetch_add(ns, Ordering::Relaxed);
        self.inferences.fetch_add(1, Ordering::Relaxed);
        let mut window = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        if window.len() == WINDOW {
            window.pop_front();
        }
        window.push_back(took.as_secs_f64() * 1000.0);
    }

    /// Median and 95th percentile of the last inferences, in ms; `None` before the first.
    pub fn quantiles(&self) -> Option<(f64, f64)> {
        let mut sorted: Vec<f64> = self.latencies.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| sorted.get((sorted.len().saturating_sub(1) * percent).div_ceil(100)).copied();
        Some((at(50)?, at(95)?))
    }
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kib(&status, "VmRSS:")
}

fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|l| l.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Reads the node's own load.
#[derive(Default)]
pub struct Node {
    last: Mutex<(u64, u64)>,
}

impl Node {
    /// Processor use since the last call in percent of all cores, and memory.
    pub fn read(&self) -> Value {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = kib(&memory, "MemTotal:").unwrap_or(0);
        let free = kib(&memory, "MemAvailable:").unwrap_or(0);
        json!({ "cpu_percent": self.cpu(), "memory_used_bytes": total.saturating_sub(free), "memory_total_bytes": total })
    }

    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let Some((busy, all)) = cpu_times(&stat) else { return 0.0 };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (busy_part, all_part) = (busy.saturating_sub(last.0), all.saturating_sub(last.1));
        *last = (busy, all);
        #[expect(clippy::cast_precision_loss, reason = "ticks stay far below 2^52")]
        let percent = if all_part == 0 { 0.0 } else { busy_part as f64 * 100.0 / all_part as f64 };
        (percent * 10.0).round() / 10.0
    }
}

/// Busy and total ticks of the first line of `/proc/stat`.
fn cpu_times(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<u64> = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8).filter_map(|f| f.parse().ok()).collect();
    let all: u64 = fields.iter().sum();
    // Fields 4 and 5 are idle and waiting for disks.
    let idle = fields.get(3)? + fields.get(4)?;
    Some((all - idle, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_window() {
        let stats = Stats::default();
        assert_eq!(stats.quantiles(), None);
        for ms in 1..=100 {
            stats.record(true, Duration::from_millis(ms));
        }
        let (p50, p95) = stats.quantiles().unwrap();
        assert!((50.0..=51.0).contains(&p50) && (95.0..=96.0).contains(&p95), "{p50} {p95}");
        stats.record(false, Duration::ZERO);
        assert_eq!(stats.errors.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn processor_times() {
        assert_eq!(cpu_times("cpu  10 0 20 60 10 0 0 0 0 0\ncpu0 1"), Some((30, 100)));
        assert_eq!(cpu_times("nonsense"), None);
    }
}
