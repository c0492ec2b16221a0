//! Episodes: from when a condition has held for a time to when it has not held for another.

use std::time::Duration;

/// One episode of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Episode {
    /// Since when the condition holds.
    since: Option<Duration>,
    /// When the episode began.
    begun: Option<Duration>,
    /// Since when the condition does not hold, of an episode that has begun.
    gone: Option<Duration>,
}

/// What became of an episode in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Begun,
    /// It is over: when it began, and when its condition was last seen to hold no more.
    Ended {
        begin: Duration,
        end: Duration,
    },
}

impl Episode {
    /// Goes on with whether the condition holds now.
    pub fn update(&mut self, holds: bool, now: Duration, lasting: Duration, hold: Duration) -> Option<Change> {
        if holds {
            self.gone = None;
            let since = *self.since.get_or_insert(now);
            if self.begun.is_none() && now.saturating_sub(since) >= lasting {
                self.begun = Some(now);
                return Some(Change::Begun);
            }
            return None;
        }
        self.since = None;
        let begin = self.begun?;
        let end = *self.gone.get_or_insert(now);
        if now.saturating_sub(end) < hold {
            return None;
        }
        *self = Self::default();
        Some(Change::Ended { begin, end })
    }

    /// Whether nothing is kept of it.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_begins_after_a_time_and_ends_after_another() {
        let mut episode = Episode::default();
        let mut told = Vec::new();
        // A second each; the condition holds where there is an x.
        for (at, holds) in "-xx-xxx--x----xxx".chars().map(|c| c == 'x').enumerate() {
            let now = Duration::from_secs(u64::try_from(at).unwrap());
            if let Some(change) = episode.update(holds, now, Duration::from_secs(2), Duration::from_secs(3)) {
                told.push((at, change));
            }
        }
        let ended = Change::Ended { begin: Duration::from_secs(6), end: Duration::from_secs(10) };
        assert_eq!(told, [(6, Change::Begun), (13, ended), (16, Change::Begun)]);
        assert!(!episode.is_idle());
    }

    #[test]
    fn without_times_each_frame_decides() {
        let mut episode = Episode::default();
        let zero = Duration::ZERO;
        assert_eq!(episode.update(true, zero, zero, zero), Some(Change::Begun));
        let now = Duration::from_millis(200);
        assert_eq!(episode.update(false, now, zero, zero), Some(Change::Ended { begin: zero, end: now }));
        assert!(episode.is_idle());
    }
}
