//! Versions, manifests, keys and test sets.

use app_package::digest::Digest;
use app_package::oci::{Descriptor, EMPTY_BYTES, EMPTY_TYPE, ImageManifest, MANIFEST_TYPE};
use bytes::Bytes;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use ed25519_dalek::SigningKey;

use super::{codes, sorted};
use crate::base::app::App;
use crate::base::auth::Role;
use crate::base::db::Conn;
use crate::base::db::schema::{audit_records, manifests, releases, tags};
use crate::moderation::model::ModerationDecision;
use crate::registry::manifests::Push;
use crate::registry::model::{Expected, Named, Reference};
use crate::release::lifecycle::DeprecationForm;
use crate::release::model::Channel;
use crate::testing::shop::{APP, submitted};
use crate::testing::{assert_intact, each_backend_racing, platform, race, repository, shop, vendor};
use crate::{catalog, moderation, registry, release, trust};

/// The version that the listing shows.
async fn shown(app: &App) -> String {
    app.db
        .read(|conn| {
            let listed = catalog::service::find_listing(conn, "acme", APP)?;
            Ok(releases::table.find(listed.release_id.unwrap()).select(releases::version).first(conn)?)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn of_releases_published_at_once_the_highest_is_shown() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        let moderator = platform(&app, Role::Moderator).await;
        let mut cases = Vec::new();
        for version in ["1.7.0", "1.0.0", "1.2.0", "1.5.0", "1.6.0", "1.1.0", "1.3.0", "1.4.0"] {
            cases.push(submitted(&app, &acme, version, Channel::Stable).await.1);
        }
        // Two at each case, of whom one decides.
        let decided = race(|n| {
            let (app, moderator, case) = (app.clone(), moderator.clone(), cases[n % cases.len()].clone());
            async move { moderation::service::decide(&app, &moderator, &case, ModerationDecision::Approve, "").await }
        })
        .await;
        assert_eq!(sorted(decided), (8, codes(&["case-decided"])));
        assert_eq!(shown(&app).await, "1.7.0");
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn of_releases_promoted_at_once_the_highest_is_shown() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        let mut published = Vec::new();
        for version in ["1.7.0", "1.0.0", "1.2.0", "1.5.0", "1.6.0", "1.1.0", "1.3.0", "1.4.0"] {
            let (id, case) = submitted(&app, &acme, version, Channel::Beta).await;
            shop::approve(&app, &case).await;
            published.push(id);
        }
        // Two at each version, of whom one moves it.
        let promoted = race(|n| {
            let (app, acme, id) = (app.clone(), acme.clone(), published[n % published.len()].clone());
            async move { release::lifecycle::promote(&app, &acme, &id).await }
        })
        .await;
        assert_eq!(sorted(promoted), (8, codes(&["release-stable"])));
        assert_eq!(shown(&app).await, "1.7.0");
    })
    .await;
}

#[tokio::test]
async fn a_manifest_is_deleted_or_checked_never_both() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
            let (id, _) = submitted(&app, &acme, version, Channel::Stable).await;
            let failed = id.clone();
            let digest: String = app
                .db
                .write(move |conn| {
                    diesel::update(releases::table.find(&failed)).set(releases::state.eq("failed")).execute(conn)?;
                    diesel::update(manifests::table).set(manifests::visibility.eq("private")).execute(conn)?;
                    Ok(releases::table.find(&failed).select(releases::digest).first(conn)?)
                })
                .await
                .unwrap();
            race(|n| {
                let (app, acme, id, digest) = (app.clone(), acme.clone(), id.clone(), digest.clone());
                async move {
                    if n % 2 == 0 {
                        release::service::recheck(&app, &acme, &id).await.is_ok()
                    } else {
                        let repository = repository(&app, &acme, &format!("acme/{APP}")).await;
                        registry::manifests::delete(&app, &acme, repository, Reference::parse(&digest).unwrap(), Expected::default())
                            .await
                            .is_ok()
                    }
                }
            })
            .await;
            let (state, stored): (String, i64) = app
                .db
                .read(move |conn| {
                    let state = releases::table.find(&id).select(releases::state).first(conn)?;
                    Ok((state, manifests::table.filter(manifests::digest.eq(&digest)).count().get_result(conn)?))
                })
                .await
                .unwrap();
            assert_eq!(state == "checking", stored == 1, "{state} with {stored} manifests");
        }
    })
    .await;
}

#[tokio::test]
async fn referrers_at_once_stay_within_the_limit() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        let belt = repository(&app, &acme, "acme/belt").await;
        registry::service::store_blob_small(&app, &belt.id, EMPTY_BYTES).await.unwrap();
        let subject = Descriptor::of(MANIFEST_TYPE, b"subject");
        let (id, digest) = (belt.id.clone(), subject.digest.clone());
        let sql = move |conn: &mut Conn| {
            let empty = if matches!(conn, Conn::Sqlite(_)) { "x''" } else { "''" };
            Ok(conn.batch_execute(&format!(
                "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 195) \
                 INSERT INTO manifests (repository_id, digest, media_type, subject, content, created_at, linked) \
                 SELECT '{id}', 'x' || n, 'm', '{digest}', {empty}, '2026-01-01 00:00:00', TRUE FROM counted"
            ))?)
        };
        app.db.write(sql).await.unwrap();
        let attached = race(|n| {
            let (app, acme, belt, subject) = (app.clone(), acme.clone(), belt.clone(), subject.clone());
            async move {
                let manifest = ImageManifest {
                    schema_version: 2,
                    media_type: None,
                    artifact_type: Some("application/vnd.test.note".into()),
                    config: Descriptor::of(EMPTY_TYPE, EMPTY_BYTES),
                    layers: Vec::new(),
                    subject: Some(subject),
                    annotations: Some([("n".to_owned(), n.to_string())].into()),
                };
                let bytes = manifest.to_bytes();
                let push = Push::read(Reference::Digest(Digest::of(&bytes)), Vec::new(), MANIFEST_TYPE, bytes.into()).unwrap();
                release::arrival::push(&app, &acme, belt, push.into()).await
            }
        })
        .await;
        assert_eq!(sorted(attached), (5, codes(&["too-many-referrers"])));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn of_two_who_move_a_tag_one_is_told() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        let belt = repository(&app, &acme, "acme/belt").await;
        registry::service::store_blob_small(&app, &belt.id, EMPTY_BYTES).await.unwrap();
        let put = |n: usize, expected: Expected| {
            let (app, acme, belt) = (app.clone(), acme.clone(), belt.clone());
            async move {
                let manifest = ImageManifest {
                    schema_version: 2,
                    media_type: None,
                    artifact_type: Some("application/vnd.test.note".into()),
                    config: Descriptor::of(EMPTY_TYPE, EMPTY_BYTES),
                    layers: Vec::new(),
                    subject: None,
                    annotations: Some([("n".to_owned(), n.to_string())].into()),
                };
                let push = Push::read(Reference::Tag("latest".into()), Vec::new(), MANIFEST_TYPE, manifest.to_bytes().into()).unwrap();
                let digest = push.digest.to_string();
                release::arrival::push(&app, &acme, belt, push.expecting(expected).into()).await.map(|()| digest)
            }
        };
        let none = || Expected { matches_none: Some(Named::Any), ..Expected::default() };
        let first = race(|n| put(n, none())).await;
        let digest = first.iter().find_map(|made| made.as_ref().ok().cloned()).unwrap();
        assert_eq!(sorted(first), (1, codes(&["precondition-failed"])));
        let same = || Expected { matches: Some(Named::OneOf(vec![digest.clone()])), ..Expected::default() };
        assert_eq!(sorted(race(|n| put(100 + n, same())).await), (1, codes(&["precondition-failed"])));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn of_corrections_of_a_failed_version_one_takes_its_place() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        shop::push(&app, &acme, &shop::belt("belt", "1.0.0", false)).await.unwrap();
        app.db.write(|conn| Ok(diesel::update(releases::table).set(releases::state.eq("failed")).execute(conn)?)).await.unwrap();
        app.db.write(|conn| Ok(diesel::update(manifests::table).set(manifests::visibility.eq("private")).execute(conn)?)).await.unwrap();
        // Two corrections, and the same bytes again.
        let came = race(|n| {
            let (app, acme) = (app.clone(), acme.clone());
            async move {
                let mut files = shop::belt("belt", "1.0.0", false);
                if n % 3 > 0 {
                    files.insert("notes.md".into(), format!("correction {}", n % 3).into_bytes());
                }
                shop::push(&app, &acme, &files).await
            }
        })
        .await;
        let (taken, refused) = sorted(came);
        assert!(
            taken >= 1 && refused.is_subset(&codes(&["manifest-busy", "tag-immutable", "release-version-taken", "database-busy"])),
            "{refused:?}"
        );
        let (kept, tagged, visible): (Vec<(String, String)>, Vec<String>, Vec<String>) = app
            .db
            .read(|conn| {
                let kept = manifests::table.filter(manifests::visibility.eq("kept")).select(manifests::digest).load(conn)?;
                Ok((
                    releases::table.select((releases::digest, releases::state)).load(conn)?,
                    tags::table.select(tags::digest).load(conn)?,
                    kept,
                ))
            })
            .await
            .unwrap();
        assert_eq!((kept.len(), kept[0].1.as_str()), (1, "checking"), "{kept:?}");
        assert!(tagged == [kept[0].0.as_str()] && visible == tagged, "{tagged:?} {visible:?} {kept:?}");
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_version_received_twice_is_one_release() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        // Two packages of one version: safety class or not.
        let came = race(|n| {
            let (app, acme) = (app.clone(), acme.clone());
            async move { shop::push(&app, &acme, &shop::belt("belt", "1.0.0", n % 2 == 0)).await }
        })
        .await;
        let (taken, refused) = sorted(came);
        assert!(
            taken >= 1 && refused.is_subset(&codes(&["manifest-busy", "tag-immutable", "release-version-taken", "database-busy"])),
            "{refused:?}"
        );
        let (kept, tagged, received): (Vec<String>, Vec<String>, i64) = app
            .db
            .read(|conn| {
                let received = audit_records::table.filter(audit_records::action.eq("release.received")).count();
                Ok((
                    releases::table.select(releases::digest).load(conn)?,
                    tags::table.select(tags::digest).load(conn)?,
                    received.get_result(conn)?,
                ))
            })
            .await
            .unwrap();
        assert_eq!((kept.len(), &tagged, received), (1, &kept, 1));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn no_two_versions_name_each_other_as_successor() {
    each_backend_racing(|app| async move {
        let shop = shop::shop(&app).await;
        let versions = [("1.0.0", shop.listing.release_id.clone()), ("1.1.0", shop::publish(&app, &shop, "1.1.0").await)];
        let done = race(|n| {
            let (app, vendor) = (app.clone(), shop.vendor.clone());
            let ((_, id), (successor, _)) = (versions[n % 2].clone(), versions[(n + 1) % 2].clone());
            let form =
                DeprecationForm { message_en: "Take the other one.".into(), successor: successor.into(), ..DeprecationForm::default() };
            async move { release::lifecycle::deprecate(&app, &vendor, &id, &form).await }
        })
        .await;
        assert_eq!(sorted(done).0, 1);
        let left: i64 =
            app.db.read(|conn| Ok(releases::table.filter(releases::state.eq("published")).count().get_result(conn)?)).await.unwrap();
        assert_eq!(left, 1);
    })
    .await;
}

#[tokio::test]
async fn keys_at_once_stay_within_the_limit() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        let added = race(|n| {
            let (app, acme) = (app.clone(), acme.clone());
            let key = SigningKey::from_bytes(&[u8::try_from(n).unwrap() + 1; 32]);
            async move { trust::service::add(&app, &acme, "key", &app_package::public_key::to_pem(&key.verifying_key())).await }
        })
        .await;
        assert_eq!(sorted(added), (trust::model::MAX_ACTIVE, codes(&["too-many-keys"])));
        let id = trust::service::list(&app, &acme).await.unwrap()[0].id.clone();
        let revoked = race(|_| {
            let (app, acme, id) = (app.clone(), acme.clone(), id.clone());
            async move { trust::service::revoke(&app, &acme, id).await }
        })
        .await;
        assert_eq!(sorted(revoked), (1, codes(&["key-over"])));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn test_sets_at_once_stay_within_the_limit() {
    each_backend_racing(|app| async move {
        let administrator = platform(&app, Role::Administrator).await;
        let made = race(|_| {
            let (app, administrator) = (app.clone(), administrator.clone());
            async move {
                let archive = crate::evaluation::tests::archive();
                let pieces = vec![Ok::<_, std::io::Error>(Bytes::from(archive))];
                let form = crate::evaluation::tests::form();
                crate::evaluation::service::create(&app, &administrator, &form, futures_util::stream::iter(pieces)).await
            }
        })
        .await;
        assert_eq!(sorted(made), (5, codes(&["too-many-sets"])));
    })
    .await;
}
