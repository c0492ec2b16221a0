//! The decisions of the agent as pure functions: what to do next, whether to believe a manifest, how long to wait.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::Fault;

/// One deployment, as wanted or as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Digest of the deployment document.
    pub document: String,
    /// Digest of the release that the document names.
    pub release: String,
}

/// Deployments by id.
pub type Units = BTreeMap<String, Unit>;

/// One thing to do. Steps of different deployments are independent of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing of this deployment runs yet.
    Install { id: String },
    /// Another release runs and keeps running until this one is healthy.
    Update { id: String },
    /// The same release with another licence or other parameters: no new process.
    Reconfigure { id: String },
    /// The deployment is no longer wanted.
    Remove { id: String },
}

impl Step {
    /// Deployment that the step is about.
    pub fn id(&self) -> &str {
        match self {
            Self::Install { id } | Self::Update { id } | Self::Reconfigure { id } | Self::Remove { id } => id,
        }
    }
}

/// Steps that lead from `actual` to `desired`. New things first, removals last, so that an app that moves to another deployment id is not
/// away longer than needed.
pub fn plan(desired: &Units, actual: &Units) -> Vec<Step> {
    let mut steps: Vec<Step> = desired
        .iter()
        .filter_map(|(id, want)| match actual.get(id) {
            None => Some(Step::Install { id: id.clone() }),
            Some(have) if have.release != want.release => Some(Step::Update { id: id.clone() }),
            Some(have) if have.document != want.document => Some(Step::Reconfigure { id: id.clone() }),
            Some(_) => None,
        })
        .collect();
    steps.extend(actual.keys().filter(|id| !desired.contains_key(*id)).map(|id| Step::Remove { id: id.clone() }));
    steps
}

/// Anti-rollback: a manifest is taken when its version is higher than the last one taken, or when it is that very one again (same `ETag`,
/// for example from a server that does not heed `If-None-Match`).
pub fn accept_version(last: u64, last_etag: Option<&str>, version: u64, etag: &str) -> Result<(), Fault> {
    if version > last || (version == last && last_etag == Some(etag)) {
        return Ok(());
    }
    Err(Fault::new(
        "manifest-version-not-higher",
        "manifest",
        format!("the server's manifest has version {version}; this node has already taken version {last}"),
    ))
}

/// Wait before try number `failures` (1 = after the first failure): doubles from `base` up to `cap`, then spread over
/// 50–100 % by `spread` (any number; its low bits are used) so that a fleet does not come back at the same instant.
pub fn backoff(failures: u32, base: Duration, cap: Duration, spread: u64) -> Duration {
    let factor = 1u32.checked_shl(failures.saturating_sub(1).min(20)).unwrap_or(u32::MAX);
    let full = base.saturating_mul(factor).min(cap);
    let part = u32::try_from(spread % 512).unwrap_or(0);
    full / 2 + full / 1024 * part
}

/// A number that differs from call to call and node to node; for jitter only.
pub fn spread() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(document: u8, release: u8) -> Unit {
        Unit { document: format!("d{document}"), release: format!("r{release}") }
    }

    /// Every state of up to three deployments, each absent or in one of four shapes: 125 in all.
    fn all() -> Vec<Units> {
        let shapes = [None, Some(unit(1, 1)), Some(unit(2, 1)), Some(unit(3, 2)), Some(unit(4, 2))];
        let mut states = Vec::new();
        for a in &shapes {
            for b in &shapes {
                for c in &shapes {
                    let named = [("a", a), ("b", b), ("c", c)];
                    states.push(named.into_iter().filter_map(|(id, s)| s.clone().map(|s| (id.to_owned(), s))).collect());
                }
            }
        }
        states
    }

    #[test]
    fn nothing_to_do_when_equal() {
        for state in all() {
            assert_eq!(plan(&state, &state), Vec::new());
        }
    }

    #[test]
    fn doing_the_plan_reaches_the_goal() {
        for desired in all() {
            for actual in all() {
                let mut reached = actual.clone();
                for step in plan(&desired, &actual) {
                    match &step {
                        Step::Install { id } => assert!(reached.insert(id.clone(), desired[id].clone()).is_none()),
                        Step::Update { id } => {
                            assert_ne!(reached.insert(id.clone(), desired[id].clone()).unwrap().release, desired[id].release);
                        }
                        Step::Reconfigure { id } => {
                            assert_eq!(reached.insert(id.clone(), desired[id].clone()).unwrap().release, desired[id].release);
                        }
                        Step::Remove { id } => assert!(reached.remove(id).is_some()),
                    }
                }
                assert_eq!(reached, desired);
                assert!(plan(&desired, &reached).is_empty());
            }
        }
    }

    #[test]
    fn removals_come_last() {
        let desired = Units::from([("z".to_owned(), unit(1, 1))]);
        let actual = Units::from([("a".to_owned(), unit(1, 1))]);
        assert_eq!(plan(&desired, &actual), [Step::Install { id: "z".into() }, Step::Remove { id: "a".into() }]);
    }

    #[test]
    fn rollback_is_refused() {
        assert!(accept_version(0, None, 1, "a").is_ok());
        assert!(accept_version(7, Some("a"), 8, "b").is_ok());
        assert!(accept_version(7, Some("a"), 7, "a").is_ok());
        assert_eq!(accept_version(7, Some("a"), 7, "b").unwrap_err().code, "manifest-version-not-higher");
        assert!(accept_version(7, Some("a"), 6, "a").is_err());
        assert!(accept_version(7, None, 1, "a").is_err());
    }

    #[test]
    fn backoff_grows_and_is_capped() {
        let (base, cap) = (Duration::from_secs(1), Duration::from_mins(5));
        for failures in 1..40 {
            for random in [0, 1, 511, u64::MAX] {
                let wait = backoff(failures, base, cap, random);
                assert!(wait <= cap && wait >= base / 2, "{failures} {wait:?}");
            }
        }
        assert!(backoff(5, base, cap, 0) > backoff(1, base, cap, 511));
    }
}
