//! How much a node may report. Alarms have a rate for the node and one for its operator, so that neither one node nor many fill the disk.
//! Critical alarms are counted apart: a flood of others never holds them up. What is over the rate stays at the node, which sends it again.

use chrono::TimeDelta;

use super::model::Level;
use crate::base::config::Settings;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::base::rate::{Bucket, Rate};

/// The rates of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    node: Rate,
    organization: Rate,
    samples: Rate,
}

impl Limits {
    pub fn of(settings: &Settings) -> Self {
        // Three times what an agent sends; after a gap it has four heartbeats.
        let beat = TimeDelta::seconds(settings.fleet.heartbeat_seconds.clamp(1, 3600).try_into().unwrap_or(1));
        Self {
            node: Rate::hourly(settings.telemetry.alarms_per_hour),
            organization: Rate::hourly(settings.telemetry.organization_alarms_per_hour),
            samples: Rate { units: 99, every: beat * 33 },
        }
    }

    /// The bucket of a node's samples.
    pub fn samples(&self, conn: &mut Conn, node_id: &str, now: Timestamp) -> Result<Bucket> {
        Bucket::hold(conn, format!("samples:{node_id}"), self.samples, now)
    }
}

/// How an alarm passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    Whole,
    WithoutResult,
    /// The node keeps it and sends it again.
    HeldBack,
}

/// Lets the alarms of one request pass.
pub struct Gate {
    /// Of critical alarms and of the others: the node's bucket and its operator's.
    buckets: [Option<[Bucket; 2]>; 2],
    /// Number of the first alarm that was held back, and the time until the next may pass.
    held_back: Option<(u64, TimeDelta)>,
}

impl Gate {
    /// A gate for alarms of some levels.
    pub fn hold(
        conn: &mut Conn,
        limits: &Limits,
        (organization_id, node_id): (&str, &str),
        levels: impl Iterator<Item = Level> + Clone,
        now: Timestamp,
    ) -> Result<Self> {
        let mut of = |critical: bool, name: &str| -> Result<Option<[Bucket; 2]>> {
            if !levels.clone().any(|level| (level == Level::Critical) == critical) {
                return Ok(None);
            }
            let node = Bucket::hold(conn, format!("{name}:{node_id}"), limits.node, now)?;
            Ok(Some([node, Bucket::hold(conn, format!("{name}:{organization_id}"), limits.organization, now)?]))
        };
        Ok(Self { buckets: [of(true, "critical-alarms")?, of(false, "alarms")?], held_back: None })
    }

    /// Whether an alarm may pass. Alarms come in the order of their numbers. None waits for room for its result: others, whose alarms cost
    /// less, could leave it waiting for ever.
    pub fn admits(&mut self, sequence: u64, level: Level, cost: u32) -> Passage {
        let [critical, others] = &mut self.buckets;
        let Some(buckets) = (if level == Level::Critical { critical } else { others }) else { return Passage::Whole };
        let wait = |buckets: &[Bucket; 2], cost| buckets.iter().filter_map(|bucket| bucket.wait(cost)).max();
        let (taken, passage) = match (wait(buckets, cost), wait(buckets, 1)) {
            (None, _) => (cost, Passage::Whole),
            (Some(_), None) => (1, Passage::WithoutResult),
            (Some(_), Some(wait)) => {
                self.held_back.get_or_insert((sequence, wait));
                return Passage::HeldBack;
            }
        };
        for bucket in buckets {
            bucket.take(taken);
        }
        passage
    }

    /// Time until the alarm that was held back may pass.
    pub fn waits(&self) -> Option<TimeDelta> {
        self.held_back.map(|(_, wait)| wait)
    }

    /// Stores what was taken from the buckets; gives what was held back.
    pub fn close(self, conn: &mut Conn) -> Result<Option<(u64, TimeDelta)>> {
        for bucket in self.buckets.into_iter().flatten().flatten() {
            bucket.keep(conn)?;
        }
        Ok(self.held_back)
    }
}
