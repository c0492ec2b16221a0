//! Rates: how often a subject may do something, as token buckets. They are kept in the database, so that several replicas count together
//! and a restart forgets nothing. What the price is: one row is written for each thing that is counted, and on `PostgreSQL` those who
//! share a bucket wait for each other until the transaction ends; so only what adds rows is counted, never reading.
//!
//! A bucket is one time: when it is full again (the generic cell rate algorithm, ITU-T I.371). One that is full is the same as none.

use chrono::TimeDelta;
use diesel::prelude::*;

use super::db::{Conn, Timestamp, dialect, schema::rates};
use super::error::Result;

/// How far the clocks of those who share a bucket may differ, with the time between a look at the clock and the hold of the bucket.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// So many units at once, and in the long run so many in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub units: u32,
    pub every: TimeDelta,
}

impl Rate {
    pub fn hourly(units: u32) -> Self {
        Self { units, every: TimeDelta::hours(1) }
    }

    pub fn daily(units: u32) -> Self {
        Self { units, every: TimeDelta::days(1) }
    }

    /// Time in which one unit comes back.
    fn pace(self) -> TimeDelta {
        self.every / count(self.units.max(1))
    }
}

/// A bucket that is held until the transaction ends.
#[derive(Debug)]
pub struct Bucket {
    subject: String,
    rate: Rate,
    full_at: Timestamp,
    now: Timestamp,
}

impl Bucket {
    /// Holds the bucket of a subject, such as `alarms:nod_…`. Buckets are taken after the rows of `dialect::hold`, the wider ones last.
    pub fn hold(conn: &mut Conn, subject: String, rate: Rate, now: Timestamp) -> Result<Self> {
        let full_at = dialect::hold_rate(conn, &subject, now)?;
        Ok(Self::of(subject, rate, full_at, now))
    }

    fn of(subject: String, rate: Rate, full_at: Timestamp, now: Timestamp) -> Self {
        // None is emptier than empty. A little more was written by whoever looked at a clock a little later. Much more was written while the
        // clock ran ahead: the bucket counts as full, for one that is refused is not written, and would be as empty at the next look.
        let empty = now.plus(rate.pace() * count(rate.units));
        let full_at = if full_at > empty.plus(SKEW) { now } else { full_at.max(now).min(empty) };
        Self { subject, rate, full_at, now }
    }

    /// How long so many units must wait; none where they are there. More units than the bucket holds wait for a full one.
    pub fn wait(&self, units: u32) -> Option<TimeDelta> {
        let missing = self.after(units).utc() - self.now.utc() - self.rate.pace() * count(self.rate.units);
        (missing > TimeDelta::zero()).then_some(missing)
    }

    fn after(&self, units: u32) -> Timestamp {
        self.full_at.plus(self.rate.pace() * count(units.min(self.rate.units)))
    }

    /// Takes units that are there.
    pub fn take(&mut self, units: u32) {
        self.full_at = self.after(units);
    }

    /// Stores what was taken.
    pub fn keep(self, conn: &mut Conn) -> Result<()> {
        diesel::update(rates::table.find(&self.subject)).set(rates::full_at.eq(self.full_at)).execute(conn)?;
        Ok(())
    }
}

/// Takes one unit from each of some buckets, which are held in their order, in the caller's transaction. Where one is empty nothing is
/// taken; gives how long to wait then.
pub fn spend(conn: &mut Conn, buckets: Vec<(String, Rate)>, now: Timestamp) -> Result<Option<TimeDelta>> {
    spend_units(conn, buckets, 1, now)
}

/// The same for so many units of each; for more than a bucket holds, all that is in a full one.
pub fn spend_units(conn: &mut Conn, buckets: Vec<(String, Rate)>, units: u32, now: Timestamp) -> Result<Option<TimeDelta>> {
    let mut held = Vec::new();
    for (subject, rate) in buckets {
        held.push(Bucket::hold(conn, subject, rate, now)?);
    }
    let wait = held.iter().filter_map(|bucket| bucket.wait(units)).max();
    if wait.is_none() {
        for mut bucket in held {
            bucket.take(units);
            bucket.keep(conn)?;
        }
    }
    Ok(wait)
}

/// How long one unit of a bucket must be waited for, as it is now: it is not held, and nothing is taken.
pub fn waits(conn: &mut Conn, subject: String, rate: Rate, now: Timestamp) -> Result<Option<TimeDelta>> {
    let full_at: Option<Timestamp> = rates::table.find(&subject).select(rates::full_at).first(conn).optional()?;
    Ok(full_at.and_then(|full_at| Bucket::of(subject, rate, full_at, now).wait(1)))
}

/// Deletes buckets that are full, at most so many; gives how many.
pub fn prune(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<usize> {
    let full: Vec<String> =
        rates::table.filter(rates::full_at.lt(now)).order(rates::full_at).limit(limit).select(rates::subject).load(conn)?;
    Ok(diesel::delete(rates::table.filter(rates::subject.eq_any(full).and(rates::full_at.lt(now)))).execute(conn)?)
}

fn count(units: u32) -> i32 {
    i32::try_from(units).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WRITERS, each_backend, each_backend_racing, race};

    #[tokio::test]
    async fn a_bucket_empties_at_once_and_fills_slowly() {
        each_backend(|app| async move {
            let rate = Rate { units: 3, every: TimeDelta::minutes(3) };
            let spend_one = async || {
                let now = app.clock.now();
                app.db.write(move |conn| spend(conn, vec![("x".into(), rate)], now)).await.unwrap()
            };
            for _ in 0..3 {
                assert_eq!(spend_one().await, None);
            }
            assert_eq!(spend_one().await, Some(TimeDelta::minutes(1)));
            app.clock.advance(TimeDelta::seconds(40));
            assert_eq!(spend_one().await, Some(TimeDelta::seconds(20)));
            app.clock.advance(TimeDelta::seconds(20));
            assert_eq!((spend_one().await, spend_one().await), (None, Some(TimeDelta::minutes(1))));
            // Of two nothing is taken where one is empty.
            let both = async || {
                let (now, both) = (app.clock.now(), vec![("y".into(), Rate::hourly(1)), ("x".into(), rate)]);
                app.db.write(move |conn| spend(conn, both, now)).await.unwrap()
            };
            assert_eq!(both().await, Some(TimeDelta::minutes(1)));
            app.clock.advance(TimeDelta::minutes(1));
            assert_eq!(both().await, None);
            // More than it holds waits for a full bucket.
            let now = app.clock.now();
            let waits = app.db.write(move |conn| Ok(Bucket::hold(conn, "x".into(), rate, now)?.wait(1_000))).await.unwrap();
            assert_eq!(waits, Some(TimeDelta::minutes(3)));
            // Who looked at the clock before the others and holds the bucket after them finds it as empty.
            for at in [now.minus(TimeDelta::milliseconds(1)), now] {
                let wait = app.db.write(move |conn| spend(conn, vec![("x".into(), rate)], at)).await.unwrap();
                assert_eq!(wait, Some(TimeDelta::minutes(1)));
            }
            // A clock that was set back locks nobody out: what was taken while it ran ahead is forgotten.
            let back = now.minus(TimeDelta::days(400));
            for expected in [None, None, None, Some(TimeDelta::minutes(1))] {
                assert_eq!(app.db.write(move |conn| spend(conn, vec![("x".into(), rate)], back)).await.unwrap(), expected);
            }
            let now = app.clock.now();
            let kept = |now| app.db.write(move |conn| prune(conn, now, 10));
            assert_eq!(kept(back).await.unwrap(), 0);
            assert_eq!(kept(now).await.unwrap(), 1, "a full bucket is the same as none");
        })
        .await;
    }

    #[tokio::test]
    async fn many_at_once_get_no_more_than_the_bucket_holds() {
        each_backend_racing(|app| async move {
            let (own, now) = (app.clone(), app.clock.now());
            let outcomes = race(move |_| {
                let app = own.clone();
                async move { app.db.write(move |conn| spend(conn, vec![("x".into(), Rate::hourly(5))], now)).await.unwrap() }
            })
            .await;
            assert_eq!((outcomes.len(), outcomes.iter().filter(|wait| wait.is_none()).count()), (WRITERS, 5));
        })
        .await;
    }
}
