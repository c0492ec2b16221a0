//! What the platform signs for a node besides its documents: that a manifest is its desired state, until when, and the list of recalled releases.
//!
//! Invariant: a statement names the digest of the bytes that the node was served, so that neither the line nor the node's certificate authority
//! alone can tell it what to run.

use std::sync::Mutex;

use app_package::digest::Digest;
use app_package::dsse::Envelope;
use app_package::orders::{Revocations, StateStatement};
use bytes::Bytes;
use chrono::TimeDelta;

use super::{served, store};
use crate::base::app::App;
use crate::base::db::Timestamp;
use crate::base::error::{Error, Result};
use crate::fleet::model::NodeState;
use crate::release;

/// Life of a statement. A node asks for another one when half of it is over; a line that is down for longer keeps new things away, and stops
/// nothing.
const LIFE: TimeDelta = TimeDelta::days(7);

/// Longest question of a node.
const MAX_NONCE: usize = 64;

/// The signed statement on a node's desired state of this moment, which answers the node's question: letters and digits of its own choice, so that
/// nobody has got the answer before.
///
/// # Errors
/// `not-authorized`.
pub async fn statement(app: &App, node_id: &str, nonce: Option<String>) -> Result<Envelope> {
    // It is written now if it never was.
    served::manifest_digest(app, node_id).await?;
    let id = node_id.to_owned();
    let (head, revocations) = app.db.read(move |conn| Ok((store::head(conn, &id)?, release::recall::version(conn)?))).await?;
    let Some((NodeState::Enrolled, version, Some(digest), _)) = head else { return Err(Error::forbidden("not-authorized")) };
    let (keys, now) = (app.keys.get(), app.clock.now());
    let statement = StateStatement {
        node: app.ca.node_id(node_id),
        manifest_version: u64::try_from(version).map_err(Error::internal)?,
        digest: Digest::parse(&digest).map_err(Error::internal)?,
        root: keys.root.version,
        revocations: u64::try_from(revocations).map_err(Error::internal)?,
        issued: now.unix(),
        expires: now.plus(LIFE).unix(),
        nonce: nonce.filter(|nonce| (1..=MAX_NONCE).contains(&nonce.len()) && nonce.bytes().all(|b| b.is_ascii_alphanumeric())),
    };
    Ok(statement.sign(&keys.state.key))
}

/// The signed list of recalled releases, as it was last made: whoever asks has it sorted and signed anew only when there is another one, another
/// key that signs, or half of its life ([`LIFE`], too) is over.
#[derive(Debug, Default)]
pub struct RevocationList(Mutex<Option<SignedList>>);

/// A list as it is served.
#[derive(Debug, Clone)]
pub struct SignedList {
    version: i64,
    kid: String,
    issued: Timestamp,
    /// Changes with the bytes.
    pub tag: String,
    /// JSON of an envelope.
    pub bytes: Bytes,
}

impl RevocationList {
    /// The list of this moment.
    pub async fn get(&self, app: &App) -> Result<SignedList> {
        let (keys, now) = (app.keys.get(), app.clock.now());
        let kept = self.0.lock().ok().and_then(|kept| kept.clone());
        // Of a clock that was set back, a list from the time to come is none.
        let young = |kept: &SignedList| kept.issued <= now && now < kept.issued.plus(LIFE / 2);
        let kept = kept.filter(|kept| kept.kid == keys.approve.kid && young(kept));
        // The version first: of a recall in between the list has more than its version says, and never less.
        let known = kept.as_ref().map(|kept| kept.version);
        let found = app.db.read(move |conn| {
            let version = release::recall::version(conn)?;
            let digests = if known == Some(version) { None } else { Some(release::recall::digests(conn)?) };
            Ok((version, digests))
        });
        let (version, digests) = match (found.await?, kept) {
            ((_, None), Some(kept)) => return Ok(kept),
            ((version, digests), _) => (version, digests.unwrap_or_default()),
        };
        let mut releases =
            digests.iter().map(|digest| Digest::parse(digest)).collect::<std::result::Result<Vec<_>, _>>().map_err(Error::internal)?;
        releases.sort();
        let list = Revocations {
            version: u64::try_from(version).map_err(Error::internal)?,
            releases,
            issued: Some(now.unix()),
            expires: Some(now.plus(LIFE).unix()),
        };
        let bytes = Bytes::from(list.sign(&keys.approve.key).to_bytes());
        let made = SignedList { version, kid: keys.approve.kid.clone(), issued: now, tag: Digest::of(&bytes).to_string(), bytes };
        if let Ok(mut kept) = self.0.lock() {
            *kept = Some(made.clone());
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use serde_json::json;

    use super::*;
    use crate::audit;
    use crate::base::auth::Role;
    use crate::base::pki::{keys, roots};
    use crate::testing::shop::shop;
    use crate::testing::{self, count_queries, each_backend, each_backend_with};

    #[tokio::test(flavor = "multi_thread")]
    async fn the_list_is_made_anew_for_another_version_or_key_and_at_half_its_life() {
        let few = |settings: &mut crate::base::config::Settings| settings.database.connections = 1;
        each_backend_with(few, |app| async move {
            let shop = shop(&app).await;
            let (list, queries) = (RevocationList::default(), count_queries(&app).await);
            let get = async || {
                let before = queries.load(Ordering::Relaxed);
                let signed = list.get(&app).await.unwrap();
                let envelope = Envelope::parse(&signed.bytes).unwrap();
                let told = Revocations::verify(&envelope, &app.keys.get().approve.set).unwrap();
                assert!(told.in_force(app.clock.now().utc()) && !told.in_force(app.clock.now().plus(LIFE).utc()));
                (told.version, told.releases.len(), queries.load(Ordering::Relaxed) - before, signed.tag)
            };
            let (version, releases, asked, first) = get().await;
            assert_eq!((version, releases, asked), (0, 0, 2));
            assert_eq!(get().await, (0, 0, 1, first.clone()));

            let moderator = testing::platform(&app, Role::Moderator).await;
            let id = shop.listing.release_id.clone();
            let recalled = audit::change(&app, &moderator, move |c| {
                let release = release::recall::recall_in(c, &id, "misses stones")?;
                c.audit("release.recalled", &id, &json!({}));
                Ok(release)
            });
            recalled.await.unwrap();
            let (version, releases, asked, second) = get().await;
            // A copy of the database from before the recall counts from there, and by the time of its next recall comes out above.
            assert!(version > 1_000_000_000 && (releases, asked) == (1, 2) && second != first);
            if let Some(kept) = list.0.lock().unwrap().as_mut() {
                kept.kid = "of the year before".into();
            }
            assert_eq!(get().await, (version, 1, 2, second.clone()));
            assert_eq!(get().await.2, 1);
            app.clock.advance(LIFE / 2);
            let (same, releases, asked, third) = get().await;
            assert!((same, releases, asked) == (version, 1, 2) && third != second);
        })
        .await;
    }

    #[tokio::test]
    async fn what_a_node_is_told_is_signed_by_the_keys_of_this_moment() {
        each_backend(|app| async move {
            let folder = app.settings.data_dir.0.join("keys");
            let next = roots::Next::Rotate { role: app_package::root::Role::License, distrust: true };
            let mut envelope = roots::draft(&folder, &app.keys.get().root, &next).unwrap();
            for path in roots::keys_here(&folder) {
                app_package::dsse::countersign(&mut envelope, &keys::read_key(&path).unwrap()).unwrap();
            }
            roots::take(&folder, &envelope).unwrap();
            // Before anything is written, also where the node is gone.
            crate::fleet::margo::desired::rebuild(&app, "nod_none").await.unwrap();
            assert_eq!(app.keys.get().root.version, 2);
        })
        .await;
    }
}
