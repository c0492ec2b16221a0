//! Seals: every [`EVERY`] one root over the heads of all chains that have moved since the seal before. The root is a Merkle tree hash as in
//! RFC 9162 §2.1.1 (SHA-256, leaves after 0x00, nodes after 0x01, the left part a power of two); a leaf is `chain`, `sequence` and `hash`,
//! one a line, in the byte order of the chains' names. Where nothing has moved there is no seal; the first holds the old chain's head.
//!
//! Invariant: the leaves stay, so that each root can be made again, and a chain that is shorter than its newest leaf shows.

use std::time::Duration;

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::model::Leaf;
use super::store;
use crate::base::app::App;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::Result;

/// Time between two seals.
const EVERY: Duration = Duration::from_secs(10);

/// Root of a seal's leaves, in hex. Sorts them.
pub fn root(leaves: &mut [Leaf]) -> String {
    leaves.sort_by(|a, b| a.chain.cmp(&b.chain));
    let hashes: Vec<[u8; 32]> =
        leaves.iter().map(|leaf| hashed(0, &[format!("{}\n{}\n{}", leaf.chain, leaf.sequence, leaf.hash).as_bytes()])).collect();
    hex::encode(tree(&hashes))
}

fn tree(hashes: &[[u8; 32]]) -> [u8; 32] {
    match hashes {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        more => {
            let half = more.len().next_power_of_two() / 2;
            let (left, right) = more.split_at(half);
            hashed(1, &[&tree(left), &tree(right)])
        }
    }
}

fn hashed(kind: u8, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix([kind]);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Seals what has moved until told to stop. Every replica does; the one that comes first seals.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.changed() => return,
        }
        if let Err(e) = seal(&app).await {
            tracing::warn!(error = %e, "sealing the audit log");
        }
    }
}

/// Seals what has moved. Gives the number of the new seal; none where nothing has moved, or where somebody else has just sealed.
pub async fn seal(app: &App) -> Result<Option<i64>> {
    let now = app.clock.now();
    app.db.write(move |conn| seal_in(conn, now)).await
}

fn seal_in(conn: &mut Conn, now: Timestamp) -> Result<Option<i64>> {
    let last = store::last_seal(conn)?;
    // 9 s is a little less than `EVERY`, for clocks and timers are not exact.
    let recent = now.minus(TimeDelta::seconds(9));
    if last.as_ref().is_some_and(|(_, at)| *at > recent && *at <= now) {
        return Ok(None);
    }
    let number = last.map_or(0, |(number, _)| number) + 1;
    let mut leaves: Vec<Leaf> =
        store::moved_heads(conn)?.into_iter().map(|(chain, sequence, hash)| Leaf { chain, sequence, hash, number }).collect();
    if leaves.is_empty() {
        return Ok(None);
    }
    let root = root(&mut leaves);
    // The number is taken: another replica has just sealed these heads.
    if dialect::insert_seal(conn, number, now, &root)? == 0 {
        return Ok(None);
    }
    for leaf in &leaves {
        store::insert_leaf(conn, leaf)?;
    }
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(chain: &str) -> Leaf {
        Leaf { chain: chain.into(), sequence: 1, hash: "00".into(), number: 1 }
    }

    #[test]
    fn the_root_is_that_of_rfc_9162() {
        let of = |names: &[&str]| root(&mut names.iter().map(|name| leaf(name)).collect::<Vec<_>>());
        let one = |name: &str| hashed(0, &[format!("{name}\n1\n00").as_bytes()]);
        assert_eq!(of(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(of(&["a"]), hex::encode(one("a")));
        let left = hashed(1, &[&one("a"), &one("b")]);
        assert_eq!(of(&["c", "a", "b"]), hex::encode(hashed(1, &[&left, &one("c")])));
        assert_ne!(of(&["a", "b"]), of(&["a", "c"]));
    }
}
