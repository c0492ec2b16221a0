//! The platform's signature on a release: a DSSE envelope, attached to the release's manifest as a referrer that its owner cannot delete.

use app_package::digest::Digest;
use app_package::dsse::ReleaseStatement;
use app_package::oci::{Descriptor, EMPTY_BYTES, SIGNATURE_TYPE, signature_manifest};
use serde_json::json;

use super::model::{Release, ReleaseState};
use super::{service, store};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::jobs::Job;
use crate::registry::model::Visibility;
use crate::{audit, catalog, registry};

/// Releases signed again in one transaction.
const PORTION: i64 = 50;

/// Writes the platform's DSSE signature beside the release; gives the digest of its manifest.
pub(super) fn sign_in(conn: &mut Conn, app: &App, release: &Release, now: Timestamp) -> Result<Digest> {
    let owner = catalog::service::owner(conn, &release.app_id)?;
    let lost = |what: &str| Error::internal(anyhow::anyhow!("{what} of release {} is gone", release.id));
    let repository = registry::service::repository(conn, &owner.repository())?.ok_or_else(|| lost("repository"))?;
    let stored = registry::service::find_manifest(conn, &repository.id, &release.digest)?.ok_or_else(|| lost("manifest"))?;
    let digest = Digest::parse(&release.digest).map_err(Error::internal)?;
    let statement = ReleaseStatement {
        digest: digest.clone(),
        vendor: owner.vendor,
        app: owner.app,
        version: release.manifest.version.clone(),
        verdict: "approved".into(),
    };
    let keys = app.keys.get();
    let envelope = statement.sign(&keys.approve.kid, &keys.approve.key).to_bytes();
    for bytes in [EMPTY_BYTES, envelope.as_slice()] {
        registry::service::store_blob_in(conn, &app.blobs, &repository.id, bytes, now)?;
    }
    let subject =
        Descriptor { media_type: stored.media_type, digest, size: stored.content.len() as u64, annotations: None, artifact_type: None };
    // Kept: its owner may delete what else refers to a release, and nodes ask for this one.
    let manifest = signature_manifest(SIGNATURE_TYPE, &subject, &envelope).into();
    registry::service::put_manifest_in(conn, &repository.id, manifest, Visibility::Kept, now)
}

/// Signs the next releases that may run with the key of today, after the release `after`, and has their nodes told, whose licences are then
/// signed anew, too. Recalled ones are approved no more, so that only the licences of the nodes on which they run on are. Gives the last one;
/// none at the end.
///
/// For when a key of approvals or licences is trusted no longer: what it signed is worth nothing from then on.
///
/// # Errors
/// Those of the database; a release whose manifest is gone.
pub async fn sign_again(app: &App, after: &str) -> Result<Option<String>> {
    let (handle, after) = (app.clone(), after.to_owned());
    audit::change(app, &Actor::System, move |c| {
        let now = c.now;
        let found = store::approved_after(c, &after, PORTION)?;
        for id in &found {
            let release = service::get(c, id)?;
            c.enqueue(&Job::TellNodes { release_id: id.clone(), after: String::new() })?;
            if release.state == ReleaseState::Recalled {
                continue;
            }
            let signature = sign_in(c, &handle, &release, now)?;
            let detail = json!({"digest": release.digest, "signature": signature, "kid": handle.keys.get().approve.kid});
            c.audit("release.signed-again", id, &detail);
            // Servers keep pages that show the signature from before.
            catalog::service::touch_in(c, &release.app_id)?;
        }
        Ok(found.last().cloned())
    })
    .await
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;

    use super::*;
    use crate::base::auth::Role;
    use crate::base::db::schema::{audit_records, jobs};
    use crate::release::recall;
    use crate::testing::shop::shop;
    use crate::testing::{self, each_backend};

    #[tokio::test(flavor = "multi_thread")]
    async fn nodes_of_a_recalled_release_are_told_and_it_is_not_approved_again() {
        each_backend(|app| async move {
            let id = shop(&app).await.listing.release_id;
            let counts = async || {
                app.db
                    .read(|conn| {
                        let told = jobs::table.filter(jobs::kind.eq("tell-nodes")).count().get_result::<i64>(conn)?;
                        let signed = audit_records::table.filter(audit_records::action.eq("release.signed-again"));
                        Ok((told, signed.count().get_result::<i64>(conn)?))
                    })
                    .await
                    .unwrap()
            };
            let begin = counts().await;
            assert_eq!(sign_again(&app, "").await.unwrap().as_ref(), Some(&id));
            assert_eq!(counts().await, (begin.0 + 1, 1));
            let (moderator, own) = (testing::platform(&app, Role::Moderator).await, id.clone());
            let recalled = audit::change(&app, &moderator, move |c| {
                recall::recall_in(c, &own, "misses stones")?;
                c.audit("release.recalled", &own, &json!({}));
                Ok(())
            });
            recalled.await.unwrap();
            let before = counts().await;
            assert_eq!(sign_again(&app, "").await.unwrap(), Some(id));
            assert_eq!(counts().await, (before.0 + 1, 1));
        })
        .await;
    }
}
