//! Memory for the bodies of requests that are read whole: what all of them hold now, and what each who sends them does. It is taken as a body
//! grows, and whoever finds none left is told to come again.
//!
//! Nobody has more than a quarter, and all that have proved nothing together no more than half. A reserve is for small bodies of nodes
//! alone, so that an alarm comes through where all else is taken. In this process only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;

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

/// Bytes that are held, of all and of each.
#[derive(Debug, Default)]
struct Pool {
    held: usize,
    /// Of networks together.
    unproved: usize,
    each: HashMap<Who, usize>,
}

fn is_proved(who: &Who) -> bool {
    matches!(who, Who::Certificate(_))
}

impl Pool {
    /// Takes some; false where there are none left for this one.
    fn take(&mut self, who: &Who, bytes: usize, (all, share): (usize, usize)) -> bool {
        let own = self.each.get(who).copied().unwrap_or_default();
        if self.held.saturating_add(bytes) > all || own.saturating_add(bytes) > share {
            return false;
        }
        if !is_proved(who) {
            if self.unproved.saturating_add(bytes) > all / 2 {
                return false;
            }
            self.unproved += bytes;
        }
        self.held += bytes;
        self.each.insert(who.clone(), own + bytes);
        true
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

#[derive(Debug, Default)]
struct Pools {
    all: Pool,
    reserve: Pool,
}

impl Pools {
    fn of(&mut self, reserved: bool) -> &mut Pool {
        if reserved { &mut self.reserve } else { &mut self.all }
    }
}

/// The memory of all. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Bodies(Arc<Mutex<Pools>>);

impl Bodies {
    /// The body of a request, of which nothing has come.
    pub fn of(&self, who: Who) -> Held {
        Held { bodies: self.clone(), who, bytes: 0, reserved: false }
    }
}

/// What the body of one request holds; it is given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    bodies: Bodies,
    who: Who,
    bytes: usize,
    reserved: bool,
}

impl Held {
    /// Takes what is missing to so many bytes. A body that is read again has them already.
    ///
    /// # Errors
    /// `server-busy`: nothing is left, or nothing for who sends this. The body holds nothing any more.
    pub fn grow_to(&mut self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let Ok(mut pools) = self.bodies.0.lock() else { return Ok(()) };
        pools.of(self.reserved).give_back(&self.who, self.bytes);
        self.bytes = 0;
        let small = bytes <= SMALL && is_proved(&self.who);
        for (reserved, bounds) in [(true, (RESERVE, RESERVE_SHARE)), (false, (ALL, SHARE))] {
            if (small || !reserved) && pools.of(reserved).take(&self.who, bytes, bounds) {
                (self.bytes, self.reserved) = (bytes, reserved);
                return Ok(());
            }
        }
        Err(none_left())
    }
}

/// Nodes all hear it in the same moment, and must not all come in the same moment.
fn none_left() -> Error {
    busy().retry_after(TimeDelta::seconds(rand::random_range(2..=20)))
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0
            && let Ok(mut pools) = self.bodies.0.lock()
        {
            pools.of(self.reserved).give_back(&self.who, self.bytes);
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
            match body.grow_to(bytes) {
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

    #[test]
    fn nobody_has_more_than_a_quarter_and_small_bodies_of_nodes_come_through() {
        let all = Bodies::default();
        let node = |n: u8| Who::Certificate([n; 32]);
        let mut held = Vec::new();
        for n in 0..4 {
            let (bodies, refused) = bodies(&all, &node(n), 256, 2 * MIB);
            assert_eq!((bodies.len(), refused), (28, 228), "{n}");
            held.extend(bodies);
        }
        // Nothing is left for large ones, nor for small ones of others.
        assert_eq!(bodies(&all, &node(9), 1, 2 * MIB).1, 1);
        assert_eq!(bodies(&all, &Who::Network("192.0.2.7".into()), 1, 4096).1, 1);
        let mut alarm = all.of(node(9));
        alarm.grow_to(4096).unwrap();
        alarm.grow_to(SMALL).unwrap();
        // Also where others send small ones only.
        let (small, refused) = bodies(&all, &node(0), 256, SMALL);
        assert_eq!((small.len(), refused), (8, 248));
        drop(bodies(&all, &node(8), 1, SMALL).0.pop().unwrap());
        // One that grows out of the reserve is refused, and gives back what it had.
        assert!(alarm.grow_to(SMALL + 1).is_err());
        held.pop();
        alarm.grow_to(2 * MIB).unwrap();
        assert!(alarm.grow_to(100).is_ok(), "read again");
        drop((held, small, alarm));
        // Strangers from many networks leave nodes the other half.
        let strangers: Vec<_> = (0..4).map(|n| bodies(&all, &Who::Network(format!("192.0.2.{n}")), 256, MIB / 2)).collect();
        assert_eq!(strangers.iter().map(|(held, _)| held.len()).collect::<Vec<_>>(), [112, 112, 0, 0]);
        assert_eq!(bodies(&all, &node(1), 28, 2 * MIB).1, 0);
        drop(strangers);
        let pools = all.0.lock().unwrap();
        assert_eq!((pools.all.held, pools.all.each.len(), pools.reserve.held, pools.reserve.each.len()), (0, 0, 0, 0));
    }
}
