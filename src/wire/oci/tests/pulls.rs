//! How soon a pull stops, with a token that was given out before.

use super::*;
use crate::account::tokens;
use crate::base::db::{Db, Location};
use crate::license::model::LicenseDecision;
use crate::license::service::decide;

/// Sends GET and HEAD for the manifest by tag and by digest and for its blob, twice, so that the second may come from memory.
async fn pulls(app: &App, bearer: &str, digest: &Digest, blob: &Digest, expected: u16) {
    for path in ["manifests/1.0.0".to_owned(), format!("manifests/{digest}"), format!("blobs/{blob}")] {
        for method in [Method::GET, Method::HEAD, Method::GET] {
            let answer =
                send(app, &Actor::Anonymous, method.clone(), &format!("/v2/acme/belt/{path}"), &[("authorization", bearer)], b"").await;
            assert_eq!(answer.status.as_u16(), expected, "{method} {path}");
        }
    }
}

pub(super) async fn bearer(app: &App, who: &Actor) -> String {
    format!("Bearer {}", token::issue(app, who, &["repository:acme/belt:pull".into()]).await.unwrap().token)
}

pub(super) struct Sold {
    pub acme: Actor,
    pub mine: Actor,
    pub node: Actor,
    pub digest: Digest,
    pub blob: Digest,
}

/// A published release `acme/belt:1.0.0` and an operator with a licence, which ends with its grace time on the third day.
pub(super) async fn sold(app: &App) -> Sold {
    let (acme, mine) = (testing::vendor(app, "acme").await, testing::operator(app, "mine").await);
    let manifest = push_layer(app, &acme, "acme/belt", b"weights", None).await.to_bytes();
    put_manifest(app, &acme, "acme/belt", "1.0.0", &manifest).await.expect(201);
    let digest = Digest::of(&manifest);
    super::rights::release_and_license(app, &acme, &mine, &digest).await;
    let node = testing::node(app, &mine).await;
    Sold { acme, mine, node, digest, blob: Digest::of(b"weights") }
}

#[tokio::test]
async fn a_licence_that_ends_stops_pulls_within_a_minute() {
    each_backend(|app| async move {
        let Sold { mine, node, digest, blob, .. } = sold(&app).await;
        app.clock.advance(TimeDelta::hours(48) - TimeDelta::seconds(30));
        let bearers = [bearer(&app, &mine).await, bearer(&app, &node).await];
        for bearer in &bearers {
            pulls(&app, bearer, &digest, &blob, 200).await;
        }
        // Nothing is written while the end passes.
        app.clock.advance(TimeDelta::minutes(1));
        for bearer in &bearers {
            token::verify(&app, &super::pulls(), bearer.strip_prefix("Bearer ").unwrap()).expect("the token itself is still good");
            pulls(&app, bearer, &digest, &blob, 404).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_decision_stops_pulls_at_once() {
    each_backend(|app| async move {
        let Sold { mine, node, digest, blob, .. } = sold(&app).await;
        let administrator = testing::platform(&app, Role::Administrator).await;
        let bearers = [bearer(&app, &mine).await, bearer(&app, &node).await];
        let after = |decision: Option<LicenseDecision>, expected: u16| {
            let (app, administrator, bearers, digest, blob) =
                (app.clone(), administrator.clone(), bearers.clone(), digest.clone(), blob.clone());
            async move {
                if let Some(decision) = decision {
                    decide(&app, &administrator, "lic_1".into(), decision, "unpaid").await.unwrap();
                }
                for bearer in &bearers {
                    pulls(&app, bearer, &digest, &blob, expected).await;
                }
            }
        };
        after(None, 200).await;
        after(Some(LicenseDecision::Suspend), 404).await;
        after(Some(LicenseDecision::Reinstate), 200).await;
        after(Some(LicenseDecision::Revoke), 404).await;
    })
    .await;
}

#[tokio::test]
async fn what_another_process_decides_stops_pulls_within_a_minute() {
    each_backend(|app| async move {
        let Sold { mine, digest, blob, .. } = sold(&app).await;
        let bearer = bearer(&app, &mine).await;
        pulls(&app, &bearer, &digest, &blob, 200).await;
        let other = Db::open(&Location::parse(&app.settings.database.url).unwrap(), 2).unwrap();
        other.write(|conn| Ok(conn.batch_execute("UPDATE licenses SET state = 'revoked'")?)).await.unwrap();
        app.clock.advance(TimeDelta::minutes(1));
        pulls(&app, &bearer, &digest, &blob, 404).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_ends_and_so_do_its_holders() {
    each_backend(|app| async move {
        let Sold { acme, mine, digest, blob, .. } = sold(&app).await;
        let organization = mine.person().unwrap().organization_id.clone();
        let colleague = testing::member(&app, &organization, Role::Deployer, "two@mine.example").await;
        let (own, theirs) = (bearer(&app, &mine).await, bearer(&app, &colleague).await);
        pulls(&app, &own, &digest, &blob, 200).await;
        pulls(&app, &theirs, &digest, &blob, 200).await;
        let user = colleague.person().unwrap().user_id.clone();
        app.db.write(move |conn| Ok(conn.batch_execute(&format!("DELETE FROM memberships WHERE user_id = '{user}'"))?)).await.unwrap();
        pulls(&app, &theirs, &digest, &blob, 401).await;
        pulls(&app, &own, &digest, &blob, 200).await;
        // Fifteen minutes, to the second, also for what is in memory.
        app.clock.advance(TimeDelta::seconds(15 * 60 - 1));
        pulls(&app, &own, &digest, &blob, 200).await;
        app.clock.advance(TimeDelta::seconds(1));
        pulls(&app, &own, &digest, &blob, 401).await;
        let fresh = bearer(&app, &acme).await;
        pulls(&app, &fresh, &digest, &blob, 200).await;
    })
    .await;
}

#[tokio::test]
async fn who_pushes_reads_what_they_pushed() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let bearer = bearer(&app, &acme).await;
        let with = [("authorization", bearer.as_str())];
        let path = "/v2/acme/belt/manifests/latest";
        let nobody = Actor::Anonymous;
        send(&app, &nobody, Method::GET, path, &with, b"").await.expect(404);
        for bytes in [&b"one"[..], b"two", b"three"] {
            let manifest = push_layer(&app, &acme, "acme/belt", bytes, None).await.to_bytes();
            put_manifest(&app, &acme, "acme/belt", "latest", &manifest).await.expect(201);
            for _ in 0..2 {
                assert_eq!(send(&app, &nobody, Method::GET, path, &with, b"").await.expect(200).body, manifest);
            }
            let head = send(&app, &nobody, Method::HEAD, path, &with, b"").await.expect(200);
            assert_eq!(head.header("docker-content-digest"), Digest::of(&manifest).as_str());
        }
        send(&app, &nobody, Method::DELETE, path, &with, b"").await.expect(202);
        send(&app, &nobody, Method::GET, path, &with, b"").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn pulls_come_from_memory_until_something_is_written() {
    each_backend(|app| async move {
        let Sold { mine, digest, .. } = sold(&app).await;
        let bearer = bearer(&app, &mine).await;
        let path = "/v2/acme/belt/manifests/1.0.0";
        let get = || async { send(&app, &Actor::Anonymous, Method::GET, path, &[("authorization", &bearer)], b"").await };
        assert_eq!(get().await.expect(200).header("docker-content-digest"), digest.as_str());
        // Behind its back, as only another process writes: memory has the old state for a second.
        let other = Db::open(&Location::parse(&app.settings.database.url).unwrap(), 2).unwrap();
        other.write(|conn| Ok(conn.batch_execute("UPDATE licenses SET state = 'revoked'")?)).await.unwrap();
        get().await.expect(200);
        // A write that does not say what it touches touches everything.
        app.db.write(|_| Ok(())).await.unwrap();
        get().await.expect(404);
    })
    .await;
}

/// A way to be signed in, and how it ends.
enum Proof {
    Token,
    Session,
}

#[tokio::test]
async fn a_registry_token_ends_with_what_it_was_made_with() {
    each_backend(|app| async move {
        for proof in [Proof::Token, Proof::Session] {
            let slug = if matches!(proof, Proof::Token) { "acme" } else { "bolt" };
            let vendor = testing::vendor(&app, slug).await;
            let name = format!("{slug}/belt");
            let manifest: Bytes = push_layer(&app, &vendor, &name, b"weights", None).await.to_bytes().into();
            put_manifest(&app, &vendor, &name, "1.0.0", &manifest).await.expect(201);
            let actor = match proof {
                Proof::Token => {
                    let text = tokens::create(&app, &vendor, "ci", &["publish", "pull"], 30).await.unwrap();
                    crate::account::service::authenticate_token(&app, &text).await.unwrap()
                }
                Proof::Session => {
                    let email = vendor.person().unwrap().email.clone();
                    let cookie = crate::account::service::sign_in(&app, &email, testing::PASSWORD.into(), "::1", "").await.unwrap();
                    crate::account::service::authenticate_session(&app, &cookie).await.unwrap()
                }
            };
            let issued = token::issue(&app, &actor, &[format!("repository:{name}:pull")]).await.unwrap().token;
            let bearer = format!("Bearer {issued}");
            let with = [("authorization", bearer.as_str()), ("content-type", MANIFEST_TYPE)];
            let (nobody, path) = (Actor::Anonymous, format!("/v2/{name}/manifests/1.0.0"));
            let all = async |expected: [u16; 3]| {
                // Twice, so that the second may come from memory.
                for _ in 0..2 {
                    send(&app, &nobody, Method::GET, &path, &with, b"").await.expect(expected[0]);
                }
                send(&app, &nobody, Method::HEAD, &format!("/v2/{name}/blobs/{}", Digest::of(b"weights")), &with, b"")
                    .await
                    .expect(expected[1]);
                send(&app, &nobody, Method::POST, &format!("/v2/{name}/blobs/uploads/"), &with, b"").await.expect(expected[2]);
            };
            all([200, 200, 202]).await;
            let end = {
                let (app, actor, vendor, session) = (app.clone(), actor.clone(), vendor.clone(), matches!(proof, Proof::Session));
                async move {
                    if session {
                        crate::account::service::sign_out(&app, &actor, "10.0.0.1").await.unwrap();
                    } else {
                        let id = tokens::list(&app, &vendor).await.unwrap()[0].id.clone();
                        tokens::revoke(&app, &vendor, id).await.unwrap();
                    }
                }
            };
            // It ends while a body comes: that pushes nothing.
            let (head, tail) = (manifest.slice(..10), manifest.slice(10..));
            let rest = async move {
                end.await;
                Ok(tail)
            };
            let body = futures_util::StreamExt::chain(futures_util::stream::iter([Ok(head)]), futures_util::stream::once(rest));
            send_pieces(&app, &nobody, Method::PUT, &format!("/v2/{name}/manifests/2.0.0"), &with, Box::pin(body)).await.expect(401);
            get(&app, &vendor, &format!("/v2/{name}/manifests/2.0.0")).await.expect(404);
            all([401, 401, 401]).await;
            let fresh = token::issue(&app, &vendor, &[format!("repository:{name}:pull")]).await.unwrap().token;
            send(&app, &nobody, Method::GET, &path, &[("authorization", &format!("Bearer {fresh}"))], b"").await.expect(200);
        }
    })
    .await;
}
