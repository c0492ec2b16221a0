//! Memory for the bodies of requests that are read whole: what all of them hold now, and what each who sends them does. It is taken as a body
//! grows, and whoever finds none left is told to come again.
//!
//! Nobody has more than a quarter, and all that have proved nothing together no more than half. A reserve is for small bodies of nodes
//! alone, so that an alarm comes through where all else is taken. Where there is none left, bodies that come too slowly give way
//! ([`BYTES_PER_SECOND`]), the furthest behind of whoever holds the most first, but never to somebody who would then hold as much: few slow
//! senders keep out nobody, and of many that are slow and hold little none loses what it has. In this process only.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::{Error, Result};
use super::open::Who;
use super::turns::busy;

/// Bytes for all bodies, and for those of one certificate or network.
const ALL: usize = 224 << 20;
const SHARE: usize = ALL / 4;
/// Bytes beside them for small bodies of nodes, and for those of one node: an agent sends one at a time.
const RESERVE: usize = 32 << 20;
const RESERVE_SHARE: usize = 512 << 10;
/// Largest body in the reserve, in bytes: the beat of a node, or some alarms.
const SMALL: usize = 64 << 10;
/// Pace of a body that keeps what it holds where others find nothing left, and how far it may be behind: wireless lines stop for shorter times.
const BYTES_PER_SECOND: usize = 64 << 10;
const BEHIND: Duration = Duration::from_secs(2);

/// Bytes that are held, of all and of each.
#[derive(Debug, Default)]
struct Pool {
    held: usize,
    /// Of networks together.
    unproved: usize,
    each: HashMap<Who, usize>,
}

/// What has no room for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// The share of who sends it.
    Own,
    /// The half of those that have proved nothing.
    Unproved,
    All,
}

fn is_proved(who: &Who) -> bool {
    matches!(who, Who::Certificate(_))
}

impl Pool {
    /// What somebody holds.
    fn of(&self, who: &Who) -> usize {
        self.each.get(who).copied().unwrap_or_default()
    }

    /// What has no room for so many bytes more; none where they fit.
    fn lacks(&self, who: &Who, bytes: usize, (all, share): (usize, usize)) -> Option<Bound> {
        if self.of(who).saturating_add(bytes) > share {
            return Some(Bound::Own);
        }
        if !is_proved(who) && self.unproved.saturating_add(bytes) > all / 2 {
            return Some(Bound::Unproved);
        }
        (self.held.saturating_add(bytes) > all).then_some(Bound::All)
    }

    fn take(&mut self, who: &Who, bytes: usize) {
        self.held += bytes;
        if !is_proved(who) {
            self.unproved += bytes;
        }
        *self.each.entry(who.clone()).or_default() += bytes;
    }

    fn give_back(&mut self, who: &Who, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
        if !is_proved(who) {
            self.unproved = self.unproved.saturating_sub(bytes);
        }
        if let Some(own) = self.each.get_mut(who) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.each.remove(who);
            }
        }
    }
}

/// The body of a request that holds some.
#[derive(Debug)]
struct Body {
    who: Who,
    bytes: usize,
    reserved: bool,
    /// From when on it is too slow; none where it is whole, and gives way to nobody.
    due: Option<Instant>,
    given_way: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Pools {
    all: Pool,
    reserve: Pool,
    /// Number of the last body.
    last: u64,
    bodies: HashMap<u64, Body>,
}

impl Pools {
    fn of(&mut self, reserved: bool) -> &mut Pool {
        if reserved { &mut self.reserve } else { &mut self.all }
    }

    /// Takes memory for a body, where need be that of those that are too slow at a time; none where there is none left for it.
    fn put(&mut self, body: Body, slow_at: Option<Instant>) -> Option<u64> {
        let bounds = if body.reserved { (RESERVE, RESERVE_SHARE) } else { (ALL, SHARE) };
        while let Some(bound) = self.of(body.reserved).lacks(&body.who, body.bytes, bounds) {
            let slow = self.too_slow(&body, bound, slow_at?)?;
            self.remove(slow)?.given_way.notify_one();
        }
        self.of(body.reserved).take(&body.who, body.bytes);
        self.last += 1;
        self.bodies.insert(self.last, body);
        Some(self.last)
    }

    /// Gives back what a body holds.
    fn remove(&mut self, number: u64) -> Option<Body> {
        let body = self.bodies.remove(&number)?;
        self.of(body.reserved).give_back(&body.who, body.bytes);
        Some(body)
    }

    /// The body that gives way to a new one which finds no room.
    fn too_slow(&self, new: &Body, bound: Bound, now: Instant) -> Option<u64> {
        let pool = if new.reserved { &self.reserve } else { &self.all };
        let would_hold = pool.of(&new.who).saturating_add(new.bytes);
        let candidates = self.bodies.iter().filter_map(|(number, body)| {
            let due = body.due.filter(|due| *due < now)?;
            let own = body.who == new.who;
            let helps = match bound {
                Bound::Own => own,
                Bound::Unproved => !is_proved(&body.who),
                Bound::All => true,
            };
            let holds = pool.of(&body.who);
            (body.reserved == new.reserved && helps && (own || holds > would_hold)).then_some((holds, Reverse(due), *number))
        });
        candidates.max().map(|(.., number)| number)
    }
}

/// The memory of all. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Bodies(Arc<Mutex<Pools>>);

impl Bodies {
    /// The body of a request, of which nothing has come.
    pub fn of(&self, who: Who) -> Held {
        Held { bodies: self.clone(), who, number: None, given_way: Arc::default() }
    }
}

/// What the body of one request holds; it is given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    bodies: Bodies,
    who: Who,
    /// Among those that hold some, once it does.
    number: Option<u64>,
    given_way: Arc<Notify>,
}

/// Time from when on a body is too slow, after so many bytes have come. What came fast does not let the rest stand still.
fn paced(due: Instant, now: Instant, bytes: usize) -> Instant {
    let earned = Duration::from_millis((bytes.saturating_mul(1_000) / BYTES_PER_SECOND) as u64);
    (due + earned).min(now + BEHIND)
}

impl Held {
    /// Notes that so many bytes came, and takes what is missing to `room`. A body that is read again has it already.
    ///
    /// # Errors
    /// `server-busy`: nothing is left, or nothing for who sends this, or the body has given way. It holds nothing any more.
    pub fn hold(&mut self, room: usize, came: usize) -> Result<()> {
        let Ok(mut pools) = self.bodies.0.lock() else { return Ok(()) };
        let now = Instant::now();
        let mut due = Some(now + BEHIND);
        if let Some(number) = self.number {
            let Some(body) = pools.bodies.get_mut(&number) else { return Err(none_left()) };
            body.due = body.due.map(|due| paced(due, now, came));
            if room <= body.bytes {
                return Ok(());
            }
            due = body.due;
            pools.remove(number);
            self.number = None;
        }
        let small = room <= SMALL && is_proved(&self.who);
        for slow_at in [None, Some(now)] {
            for reserved in [true, false] {
                if reserved && !small {
                    continue;
                }
                let body = Body { who: self.who.clone(), bytes: room, reserved, due, given_way: self.given_way.clone() };
                self.number = pools.put(body, slow_at);
                if self.number.is_some() {
                    return Ok(());
                }
            }
        }
        Err(none_left())
    }

    /// Notes that the body has come to its end: it gives way to nobody.
    ///
    /// # Errors
    /// `server-busy`: it has given way before.
    pub fn whole(&mut self) -> Result<()> {
        let Some(number) = self.number else { return Ok(()) };
        let Ok(mut pools) = self.bodies.0.lock() else { return Ok(()) };
        pools.bodies.get_mut(&number).map(|body| body.due = None).ok_or_else(none_left)
    }

    /// Is notified when the body gives way.
    pub fn given_way(&self) -> Arc<Notify> {
        self.given_way.clone()
    }
}

/// Says when to come again. Nodes all hear it in the same moment, and must not all come in the same moment.
pub fn none_left() -> Error {
    busy().retry_after(TimeDelta::seconds(rand::random_range(2..=20)))
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(number) = self.number
            && let Ok(mut pools) = self.bodies.0.lock()
        {
            pools.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// So many bodies of a size, and how many of those were refused.
    fn bodies(all: &Bodies, who: &Who, n: usize, bytes: usize) -> (Vec<Held>, usize) {
        let mut refused = 0;
        let held = (0..n).filter_map(|_| {
            let mut body = all.of(who.clone());
            match body.hold(bytes, bytes) {
                Ok(()) => Some(body),
                Err(e) => {
                    assert!(e.code == "server-busy" && e.retry_after.is_some());
                    refused += 1;
                    None
                }
            }
        });
        (held.collect(), refused)
    }

    fn node(n: u8) -> Who {
        Who::Certificate([n; 32])
    }

    fn network(n: u8) -> Who {
        Who::Network(format!("192.0.2.{n}"))
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_has_more_than_a_quarter_and_small_bodies_of_nodes_come_through() {
        let all = Bodies::default();
        let mut held = Vec::new();
        for n in 0..4 {
            let (bodies, refused) = bodies(&all, &node(n), 256, 2 * MIB);
            assert_eq!((bodies.len(), refused), (28, 228), "{n}");
            held.extend(bodies);
        }
        // Nothing is left for large ones, nor for small ones of others.
        assert_eq!(bodies(&all, &node(9), 1, 2 * MIB).1, 1);
        assert_eq!(bodies(&all, &network(7), 1, 4096).1, 1);
        let mut alarm = all.of(node(9));
        alarm.hold(4096, 4096).unwrap();
        alarm.hold(SMALL, SMALL).unwrap();
        // Also where others send small ones only.
        let (small, refused) = bodies(&all, &node(0), 256, SMALL);
        assert_eq!((small.len(), refused), (8, 248));
        drop(bodies(&all, &node(8), 1, SMALL).0.pop().unwrap());
        // One that grows out of the reserve is refused, and gives back what it had.
        assert!(alarm.hold(SMALL + 1, 1).is_err());
        held.pop();
        alarm.hold(2 * MIB, MIB).unwrap();
        assert!(alarm.hold(100, 100).is_ok(), "read again");
        drop((held, small, alarm));
        // Strangers from many networks leave nodes the other half.
        let strangers: Vec<_> = (0..4).map(|n| bodies(&all, &network(n), 256, MIB / 2)).collect();
        assert_eq!(strangers.iter().map(|(held, _)| held.len()).collect::<Vec<_>>(), [112, 112, 0, 0]);
        assert_eq!(bodies(&all, &node(1), 28, 2 * MIB).1, 0);
        drop(strangers);
        let pools = all.0.lock().unwrap();
        assert_eq!((pools.all.held, pools.all.each.len(), pools.reserve.held, pools.reserve.each.len()), (0, 0, 0, 0));
        assert!(pools.bodies.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_too_slowly_loses_it_to_others_who_find_none_left() {
        let all = Bodies::default();
        let mut held: Vec<Held> = (0..4).flat_map(|n| bodies(&all, &node(n), 28, 2 * MIB).0).collect();
        let large = || {
            let mut body = all.of(node(9));
            body.hold(2 * MIB, MIB).map(|()| body)
        };
        // A line may stop for so long.
        tokio::time::advance(BEHIND).await;
        assert!(large().is_err());
        for (n, body) in held.iter_mut().enumerate() {
            body.hold(2 * MIB, if n == 40 { 1000 } else { 2 * BYTES_PER_SECOND }).unwrap();
        }
        tokio::time::advance(BEHIND / 2).await;
        let first = large().unwrap();
        let slow = &mut held[40];
        tokio::time::timeout(Duration::from_millis(1), slow.given_way().notified()).await.expect("it is told");
        assert!(slow.hold(2 * MIB, MIB).is_err() && slow.hold(4096, 1).is_err() && slow.whole().is_err());
        // Those that keep the pace stay, and so does what is whole, however long it is worked on.
        assert!(large().is_err());
        held.remove(40);
        for body in &mut held {
            body.whole().unwrap();
        }
        tokio::time::advance(Duration::from_mins(10)).await;
        drop(first);
        let again = large().unwrap();
        assert!(large().is_err(), "none is too slow yet");
        tokio::time::advance(BEHIND * 2).await;
        assert!(all.of(node(9)).hold(4 * MIB, 1).is_err(), "more than its slow ones have");
        drop((held, again));
        assert!(all.0.lock().unwrap().bodies.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_the_most_loses_first_and_nobody_to_one_who_would_hold_as_much() {
        let all = Bodies::default();
        // One holds its whole share, the others two megabytes each, and all have stopped.
        let mut most = bodies(&all, &node(0), 28, 2 * MIB).0;
        let mut few: Vec<Held> = (1..=84).flat_map(|n| bodies(&all, &node(n), 1, 2 * MIB).0).collect();
        tokio::time::advance(BEHIND * 2).await;
        let mut new = Vec::new();
        for n in 100..127 {
            new.extend(bodies(&all, &node(n), 1, 2 * MIB).0);
        }
        assert_eq!(new.len(), 27);
        assert_eq!(most.iter_mut().filter_map(|body| body.hold(0, 0).ok()).count(), 1);
        assert_eq!(few.iter_mut().filter_map(|body| body.hold(0, 0).ok()).count(), 84);
        assert_eq!(bodies(&all, &node(200), 1, 2 * MIB).1, 1);
        assert_eq!(bodies(&all, &node(200), 1, MIB).1, 0);
        assert_eq!(few.iter_mut().chain(&mut most).filter_map(|body| body.hold(0, 0).ok()).count(), 84);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_and_those_of_one_network_take_from_their_own() {
        let all = Bodies::default();
        let mut held: Vec<Vec<Held>> = [network(1), network(2), node(1), node(2)].map(|who| bodies(&all, &who, 256, MIB / 2).0).into();
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [112; 4]);
        tokio::time::advance(BEHIND * 2).await;
        let mut new = Vec::new();
        for who in [network(1), network(3), network(3)] {
            let (bodies, refused) = bodies(&all, &who, 1, MIB / 2);
            assert_eq!(refused, 0);
            new.extend(bodies);
        }
        let mut left = || held.iter_mut().map(|own| own.iter_mut().filter_map(|body| body.hold(0, 0).ok()).count()).collect::<Vec<_>>();
        assert_eq!(left(), [110, 111, 112, 112], "its own first, then those of who holds the most");
        // A node takes of all.
        new.extend(bodies(&all, &node(3), 2, MIB / 2).0);
        assert_eq!(new.len(), 5);
        assert_eq!(left().iter().sum::<usize>(), 110 + 111 + 112 + 112 - 2);
    }
}
