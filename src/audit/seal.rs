//! Seals: every [`EVERY`] one root over the heads of all chains that have moved since the seal before. The root is a Merkle tree hash as in
//! RFC 9162 §2.1.1 (SHA-256, leaves after 0x00, nodes after 0x01, the left part a power of two); a leaf is `chain`, `sequence` and `hash`,
//! one a line, in the byte order of the chains' names. Where nothing has moved there is no seal; the first holds the old chain's head.
//!
//! A seal names the hash of the one before, and the platform's key for the log signs it as a DSSE envelope. That key is not in the database, so
//! who has the database alone can make no other seals, nor leave one out. Seals from before that have no signature: the first that has one
//! covers them by their hashes.
//!
//! Invariant: the leaves stay, so that each root can be made again, and a chain that is shorter than its newest leaf shows.

use std::collections::BTreeSet;
use std::time::Duration;

use app_package::dsse::{self, DsseError, Envelope, EnvelopeSignature};
use app_package::keys::KeySet;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use ed25519_dalek::Signer as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::model::{GENESIS, Leaf};
use super::{note, store};
use crate::base::app::App;
use crate::base::db::dialect::{self, SealRow};
use crate::base::db::{Conn, Timestamp, Touched};
use crate::base::error::Result;
use crate::base::pki::keys::RoleKey;

/// Time between two seals.
const EVERY: Duration = Duration::from_secs(10);
/// Media type of what is signed.
const TYPE: &str = "application/vnd.pithead.audit-seal+json";
/// Rows of the log that are read at once.
pub const PAGE: i64 = 1000;

/// What a seal says, and what is signed: the JSON of it, fields in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, diesel::Queryable, diesel::Selectable)]
#[diesel(table_name = crate::base::db::schema::audit_seals)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// 1, 2, 3, … without gaps.
    pub number: i64,
    pub at: Timestamp,
    /// Of its leaves ([`root`]).
    pub root: String,
    /// [`Statement::hash`] of the seal before; not stored where there is no signature.
    pub previous: String,
    /// Number of the first seal that has a signature: none after it lacks one. 0 where there is none yet.
    pub signed_from: i64,
}

impl Statement {
    /// The bytes that are signed.
    pub fn payload(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// SHA-256 of them, in hex.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.payload()))
    }

    /// What is hashed of a seal that has no signature: its number, time and root, and the hash before.
    #[must_use]
    pub fn unsigned(self, previous: String) -> Self {
        Self { previous, signed_from: 0, ..self }
    }
}

/// A seal as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, diesel::Queryable, diesel::Selectable)]
#[diesel(table_name = crate::base::db::schema::audit_seals)]
pub struct Seal {
    #[diesel(embed)]
    pub statement: Statement,
    /// The key that signed; empty where there is no signature.
    pub kid: String,
    /// Base64, as in the envelope.
    pub signature: String,
}

impl Seal {
    /// Whether it has a signature, by whatever key.
    pub fn is_signed(&self) -> bool {
        !self.signature.is_empty()
    }

    /// The signed envelope.
    pub fn envelope(&self) -> Envelope {
        Envelope {
            payload_type: TYPE.to_owned(),
            payload: STANDARD.encode(self.statement.payload()),
            signatures: vec![EnvelopeSignature { keyid: self.kid.clone(), sig: self.signature.clone() }],
        }
    }

    /// Checks the signature.
    pub fn judge(&self, keys: &KeySet) -> std::result::Result<(), DsseError> {
        dsse::verify(&self.envelope(), keys).map(|_| ())
    }
}

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

/// Seals what has moved until told to stop, and notes the newest seal outside the database. Every replica does; the one that comes first
/// seals.
pub async fn run(app: App, mut stop: watch::Receiver<bool>) {
    let mut fits = true;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.changed() => return,
        }
        if let Err(e) = seal(&app).await {
            tracing::warn!(error = %e, "sealing the audit log");
        }
        match note::keep(&app).await {
            Ok(now) => {
                if fits && !now {
                    tracing::error!("the audit log is not the one whose newest seal was noted: run pithead admin audit verify");
                }
                fits = now;
            }
            Err(e) => tracing::warn!(error = %e, "noting the newest seal"),
        }
    }
}

/// Seals what has moved. Gives the number of the new seal; none where nothing has moved, or where somebody else has just sealed.
pub async fn seal(app: &App) -> Result<Option<i64>> {
    let (now, keys) = (app.clock.now(), app.keys.get());
    let before = app.db.read(before_signatures).await?;
    // Read before the transaction, for they are all heads that there are. They may move on meanwhile: what they were stays a record of the
    // chain, and whether another seal holds it the transaction asks.
    let (newest, heads) =
        app.db.read(|conn| Ok((store::last_seal(conn)?.map(|last| last.statement.number), store::moved_heads(conn)?))).await?;
    if heads.is_empty() {
        return Ok(None);
    }
    let sealing =
        move |conn: &mut Conn| seal_in(conn, now, &keys.log, before.as_ref(), (newest, &heads)).map(|number| (number, number.is_some()));
    // A seal is noted outside the database, so it must outlive a power cut.
    app.db.write_then(sealing, |sealed| (*sealed, Touched::Only(BTreeSet::new())), |_| ()).await
}

/// Number and hash of the newest seal where it has no signature. Their hashes are not stored, so the first that signs reads them all, once and
/// outside of its transaction.
fn before_signatures(conn: &mut Conn) -> Result<Option<(i64, String)>> {
    if store::last_seal(conn)?.is_none_or(|last| last.is_signed()) {
        return Ok(None);
    }
    let (mut number, mut hash) = (0, GENESIS.to_owned());
    loop {
        let page = store::seals_after(conn, number, PAGE)?;
        if page.is_empty() {
            return Ok(Some((number, hash)));
        }
        for seal in page {
            number = seal.statement.number;
            hash = seal.statement.unsigned(hash).hash();
        }
    }
}

/// Seals heads that were read while `newest` was the newest seal.
fn seal_in(
    conn: &mut Conn,
    now: Timestamp,
    key: &RoleKey,
    before: Option<&(i64, String)>,
    (newest, heads): (Option<i64>, &[(String, i64, String)]),
) -> Result<Option<i64>> {
    let last = store::last_seal(conn)?;
    if last.as_ref().map(|last| last.statement.number) != newest {
        return Ok(None);
    }
    // 9 s is a little less than `EVERY`, for clocks and timers are not exact.
    let recent = now.minus(TimeDelta::seconds(9));
    if last.as_ref().is_some_and(|last| last.statement.at > recent && last.statement.at <= now) {
        return Ok(None);
    }
    let (number, signed_from, previous) = match (last, before) {
        (None, _) => (1, 1, GENESIS.to_owned()),
        (Some(last), _) if last.is_signed() => (last.statement.number + 1, last.statement.signed_from, last.statement.hash()),
        (Some(last), Some((number, hash))) if last.statement.number == *number => (number + 1, number + 1, hash.clone()),
        // Another replica has sealed since.
        (Some(_), _) => return Ok(None),
    };
    let leaf =
        |(chain, sequence, hash): &(String, i64, String)| Leaf { chain: chain.clone(), sequence: *sequence, hash: hash.clone(), number };
    let mut leaves: Vec<Leaf> = heads.iter().map(leaf).collect();
    let statement = Statement { number, at: now, root: root(&mut leaves), previous, signed_from };
    let signature = key.key.sign(&dsse::pae(TYPE, &statement.payload()));
    let row = SealRow {
        number,
        at: now,
        root: &statement.root,
        previous: &statement.previous,
        signed_from,
        kid: &key.kid,
        signature: &STANDARD.encode(signature.to_bytes()),
    };
    // The number is taken: another replica has just sealed these heads.
    if dialect::insert_seal(conn, &row)? == 0 {
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
