//! How often a rule may begin an episode that is not critical: a caller of the local API, who needs no password, must not fill the disk with one rule's
//! episodes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Episodes that a rule may begin at once.
const BURST: u32 = 200;
/// Time after which it may begin another one.
const REFILL: Duration = Duration::from_secs(1);
/// Number of watched rules at which idle ones are forgotten.
const MAX_RULES: usize = 4_096;

struct Bucket {
    left: u32,
    since: Instant,
    suppressed: u64,
}

/// The rules that have begun episodes of late.
#[derive(Default)]
pub(crate) struct Rates(HashMap<String, Bucket>);

impl Rates {
    /// Whether a rule may begin an episode now: if so, with the number of those that it could not begin before.
    pub(crate) fn take(&mut self, rule: &str, now: Instant) -> Option<u64> {
        if self.0.len() >= MAX_RULES && !self.0.contains_key(rule) {
            self.0.retain(|_, bucket| now.duration_since(bucket.since) < REFILL * BURST);
        }
        let bucket = self.0.entry(rule.to_owned()).or_insert(Bucket { left: BURST, since: now, suppressed: 0 });
        let earned = now.duration_since(bucket.since).as_secs() / REFILL.as_secs();
        if earned > 0 {
            bucket.left = bucket.left.saturating_add(u32::try_from(earned).unwrap_or(BURST)).min(BURST);
            bucket.since = now;
        }
        if bucket.left == 0 {
            bucket.suppressed += 1;
            return None;
        }
        bucket.left -= 1;
        Some(std::mem::take(&mut bucket.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_held_and_others_are_not() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let taken = (0..1_000).filter(|_| rates.take("d/flood", start).is_some()).count();
        assert_eq!(taken, 200);
        assert_eq!(rates.take("d/fire", start), Some(0));
        // A second later one more passes, and tells how many did not.
        let later = start + Duration::from_millis(1_100);
        assert_eq!((rates.take("d/flood", later), rates.take("d/flood", later)), (Some(800), None));
        let much_later = start + Duration::from_hours(1);
        assert_eq!((0..1_000).filter(|_| rates.take("d/flood", much_later).is_some()).count(), 200);
    }

    #[test]
    fn idle_rules_are_forgotten() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        for n in 0..MAX_RULES {
            rates.take(&n.to_string(), start);
        }
        rates.take("one more", start + REFILL * BURST);
        assert_eq!(rates.0.len(), 1);
    }
}
