//! How much manifests may take, what of them may be deleted, and what happens to damaged ones.

use super::*;
use crate::base::db::schema::{manifest_blobs, manifests, tags};
use crate::registry::links;
use crate::registry::quota;
use crate::registry::scrub::{Damage, scrub};
use crate::testing::shop;
use crate::trust::evidence::{Subject, of_release};
use app_package::evidence::{Signer, Standing};
use app_package::oci::{SIGNATURE_TYPE, VENDOR_SIGNATURE_TYPE, signature_manifest};
use diesel::prelude::*;

async fn run(app: &App, sql: String) {
    app.db.write(move |conn| Ok(conn.batch_execute(&sql)?)).await.unwrap();
}

async fn delete(app: &App, who: &Actor, path: &str) -> Answer {
    send(app, who, Method::DELETE, path, &[], b"").await
}

/// Attaches an artifact with annotations to a manifest; gives its digest.
async fn attach(app: &App, who: &Actor, name: &str, subject: &Descriptor, bytes: &[u8], note: String) -> Digest {
    let manifest = push_layer(app, who, name, bytes, Some(subject.clone())).await;
    let manifest = ImageManifest { annotations: Some([("note".to_owned(), note)].into()), ..manifest }.to_bytes();
    put_manifest(app, who, name, Digest::of(&manifest).as_str(), &manifest).await.expect(201);
    Digest::of(&manifest)
}

#[tokio::test]
async fn manifests_count_against_the_quota() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let manifest = push_layer(&app, &acme, "acme/belt", b"weights", None).await;
        let blobs = quota::show(&app, "acme").await.unwrap().used;
        assert_eq!(blobs, 2 * (4096 + 256), "weights and the empty config, a block of the disk and a link each");
        let annotations = Some([("note".to_owned(), "矿".repeat(1000))].into());
        let noted = ImageManifest { annotations, ..manifest.clone() }.to_bytes();
        let long = ImageManifest { annotations: Some([("note".to_owned(), "x".repeat(1 << 20))].into()), ..manifest.clone() }.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &noted).await.expect(201);
        put_manifest(&app, &acme, "acme/belt", "1.0.1", &long).await.expect(201);
        let kept = 3000 + "{\"note\":\"\"}".len();
        let expected = (2 * (4096 + 256) + noted.len() + kept + long.len()) as u64;
        assert_eq!(quota::show(&app, "acme").await.unwrap().used, expected, "annotations too long for a list are stored once");
        put_manifest(&app, &acme, "acme/belt", "again", &long).await.expect(201);
        assert_eq!(quota::show(&app, "acme").await.unwrap().used, expected);
        quota::set(&app, "acme", Some(0)).await.unwrap();
        let refused = put_manifest(&app, &acme, "acme/belt", "1.0.2", &manifest.to_bytes()).await.expect(403);
        assert!(refused.code() == "DENIED" && String::from_utf8_lossy(&refused.body).contains("quota-exceeded"));
        get(&app, &acme, "/v2/acme/belt/manifests/1.0.2").await.expect(404);
        // The page of the registry tells the same.
        quota::set(&app, "acme", Some(1)).await.unwrap();
        let (status, html) = testing::page(&app, &acme, Method::GET, "/vendor/registry", "").await;
        assert!(status == 200 && html.contains("1.0 MiB"), "{html}");
    })
    .await;
}

#[tokio::test]
async fn blobs_of_a_repository_are_counted() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        start(&app, &acme, "acme/belt").await;
        let counted = "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 99998)";
        run(&app, format!("INSERT INTO blobs (digest, size_bytes, touched_at, created_at) {counted} SELECT 'sha256:' || n, 1, created_at, created_at FROM counted, repositories")).await;
        run(&app, format!("INSERT INTO repository_blobs (repository_id, digest, created_at) {counted} SELECT id, 'sha256:' || n, created_at FROM counted, repositories")).await;
        let first = push_blob(&app, &acme, "acme/belt", b"first").await;
        assert_eq!(quota::show(&app, "acme").await.unwrap().used, 99_999 * (4096 + 256));
        push_blob(&app, &acme, "acme/belt", b"the last").await;
        let path = |bytes: &[u8]| format!("/v2/acme/belt/blobs/uploads/?digest={}", Digest::of(bytes));
        let refused = send(&app, &acme, Method::POST, &path(b"more"), &[], b"more").await.expect(409);
        assert!(refused.code() == "DENIED" && String::from_utf8_lossy(&refused.body).contains("too-many-blobs"));
        push_blob(&app, &acme, "acme/hoist", b"more").await;
        let mount = format!("/v2/acme/belt/blobs/uploads/?mount={}&from=acme/hoist", Digest::of(b"more"));
        send(&app, &acme, Method::POST, &mount, &[], b"").await.expect(409);
        // What is there may come again, and for one that goes another may come.
        push_blob(&app, &acme, "acme/belt", b"first").await;
        delete(&app, &acme, &format!("/v2/acme/belt/blobs/{first}")).await.expect(202);
        push_blob(&app, &acme, "acme/belt", b"more").await;
    })
    .await;
}

#[tokio::test]
async fn a_mount_asks_for_room() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        push_blob(&app, &acme, "acme/belt", b"first").await;
        push_blob(&app, &acme, "acme/hoist", b"more").await;
        let mount = format!("/v2/acme/belt/blobs/uploads/?mount={}&from=acme/hoist", Digest::of(b"more"));
        quota::set(&app, "acme", Some(0)).await.unwrap();
        send(&app, &acme, Method::POST, &mount, &[], b"").await.expect(403);
        quota::set(&app, "acme", None).await.unwrap();
        send(&app, &acme, Method::POST, &mount, &[], b"").await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn a_list_of_referrers_is_short_and_begins_with_the_platform() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let subject = push_layer(&app, &acme, "acme/belt", b"subject", None).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &subject).await.expect(201);
        let descriptor = Descriptor::of(MANIFEST_TYPE, &subject);
        let fits = "x".repeat(16 * 1024 - 20);
        for n in 0..60u8 {
            let note = if n == 7 { "y".repeat(2 << 20) } else { fits.clone() };
            attach(&app, &acme, "acme/belt", &descriptor, &[n], note).await;
        }
        let name = RepositoryName::parse("acme/belt").unwrap();
        let repository = authorize(&app, &Caller::from(acme.clone()), &name, Action::Pull).await.unwrap().id;
        service::store_blob_small(&app, &repository, b"envelope").await.unwrap();
        let (of, now) = (descriptor.clone(), app.clock.now());
        let platform = app
            .db
            .write(move |conn| {
                let manifest = signature_manifest(SIGNATURE_TYPE, &of, b"envelope").into();
                service::put_manifest_in(conn, &repository, manifest, Visibility::Kept, now)
            })
            .await
            .unwrap();
        let (mut path, mut seen, mut pages) = (format!("/v2/acme/belt/referrers/{}", descriptor.digest), Vec::new(), 0);
        loop {
            let page = get(&app, &acme, &path).await.expect(200);
            assert!(page.body.len() < 1024 * 1024, "{} bytes", page.body.len());
            let list = app_package::oci::Index::parse(&page.body).unwrap().manifests;
            seen.extend(list);
            pages += 1;
            let Some((next, _)) = page.header("link").strip_prefix('<').and_then(|l| l.split_once('>')) else { break };
            path = next.to_owned();
        }
        assert_eq!((pages, seen.len()), (2, 61));
        assert_eq!(seen[0].digest, platform, "whatever its digest, and whatever others have attached");
        let mut digests: Vec<&str> = seen.iter().map(|d| d.digest.as_str()).collect();
        assert!(digests[1..].is_sorted());
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 61, "each once");
        let noted = |d: &&Descriptor| d.annotations.as_ref().is_some_and(|a| a["note"] == fits);
        assert_eq!(seen.iter().filter(noted).count(), 59);
        assert_eq!(seen.iter().filter(|d| d.annotations.is_none()).count(), 2, "the platform's, and those too long for a list");
        let only = |kind: &str| format!("/v2/acme/belt/referrers/{}?artifactType={kind}", descriptor.digest);
        let signatures = get(&app, &acme, &only("application/vnd.pithead.signature.v1%2Bjson")).await;
        assert_eq!(app_package::oci::Index::parse(&signatures.body).unwrap().manifests.len(), 1);
        let others = get(&app, &acme, &only("application/vnd.test.thing")).await;
        assert_eq!(app_package::oci::Index::parse(&others.body).unwrap().manifests.len(), 50);
    })
    .await;
}

#[tokio::test]
async fn manifests_referrers_and_tags_of_a_repository_are_counted() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let subject = push_layer(&app, &acme, "acme/belt", b"subject", None).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "latest", &subject).await.expect(201);
        let descriptor = Descriptor::of(MANIFEST_TYPE, &subject);
        let refused = async |tag: &str, manifest: &ImageManifest, code: &str| {
            let answer = put_manifest(&app, &acme, "acme/belt", tag, &manifest.to_bytes()).await.expect(409);
            assert!(answer.code() == "DENIED" && String::from_utf8_lossy(&answer.body).contains(code));
        };
        let copies = |n: i64, subject: &str| {
            format!(
                "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {n}) \
                 INSERT INTO manifests (repository_id, digest, media_type, subject, content, created_at, linked) \
                 SELECT repository_id, {subject} || '-' || n, media_type, {subject}, content, created_at, TRUE FROM manifests, counted \
                 WHERE digest = '{}'",
                descriptor.digest
            )
        };
        run(&app, copies(200, &format!("'{}'", descriptor.digest))).await;
        let one = push_layer(&app, &acme, "acme/belt", b"one", Some(descriptor.clone())).await;
        refused("one", &one, "too-many-referrers").await;
        // One less, and it comes; what is there already may come again.
        run(&app, format!("DELETE FROM manifests WHERE digest = '{}-200'", descriptor.digest)).await;
        put_manifest(&app, &acme, "acme/belt", "one", &one.to_bytes()).await.expect(201);
        put_manifest(&app, &acme, "acme/belt", "two", &one.to_bytes()).await.expect(201);

        run(&app, copies(10_000 - 202, "'other'")).await;
        let free = push_layer(&app, &acme, "acme/belt", b"free", None).await;
        put_manifest(&app, &acme, "acme/belt", "free", &free.to_bytes()).await.expect(201);
        let more = push_layer(&app, &acme, "acme/belt", b"more", None).await;
        refused("more", &more, "too-many-manifests").await;
        delete(&app, &acme, &format!("/v2/acme/belt/manifests/{}", Digest::of(&free.to_bytes()))).await.expect(202);
        put_manifest(&app, &acme, "acme/belt", "more", &more.to_bytes()).await.expect(201);

        // latest, one, two, more; a version that was deleted counts on.
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &more.to_bytes()).await.expect(201);
        delete(&app, &acme, "/v2/acme/belt/manifests/1.0.0").await.expect(202);
        run(
            &app,
            "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 9994) \
             INSERT INTO tags (repository_id, name, digest, updated_at) \
             SELECT repository_id, 't' || n, digest, updated_at FROM tags, counted WHERE name = 'latest'"
                .into(),
        )
        .await;
        put_manifest(&app, &acme, "acme/belt", "last", &more.to_bytes()).await.expect(201);
        refused("further", &more, "too-many-tags").await;
        put_manifest(&app, &acme, "acme/belt", "latest", &more.to_bytes()).await.expect(201);

        // However many a client asks for, a list is short.
        let page = get(&app, &acme, "/v2/acme/belt/tags/list?n=100000").await.expect(200);
        let listed: Value = serde_json::from_slice(&page.body).unwrap();
        assert_eq!(listed["tags"].as_array().map(Vec::len), Some(1000));
        assert!(page.header("link").starts_with("</v2/acme/belt/tags/list?n=1000&last="), "{}", page.header("link"));

        // What a manifest may name, and call itself.
        let parts = app_package::oci::Index::of(vec![descriptor.clone(); 4097]).to_bytes();
        let answer =
            send(&app, &acme, Method::PUT, "/v2/acme/belt/manifests/parts", &[("content-type", INDEX_TYPE)], &parts).await.expect(413);
        assert!(String::from_utf8_lossy(&answer.body).contains("manifest-too-many-parts"));
        let named = ImageManifest { artifact_type: Some("a/".repeat(128)), ..more };
        assert_eq!(put_manifest(&app, &acme, "acme/belt", "named", &named.to_bytes()).await.expect(400).code(), "MANIFEST_INVALID");
    })
    .await;
}

#[tokio::test]
async fn a_version_that_was_deleted_comes_back_as_it_was_or_not_at_all() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let one = push_layer(&app, &acme, "acme/belt", b"one", None).await.to_bytes();
        let two = push_layer(&app, &acme, "acme/belt", b"two", None).await.to_bytes();
        for by in ["1.0.0".to_owned(), Digest::of(&one).to_string()] {
            put_manifest(&app, &acme, "acme/belt", "1.0.0", &one).await.expect(201);
            put_manifest(&app, &acme, "acme/belt", "latest", &one).await.expect(201);
            delete(&app, &acme, &format!("/v2/acme/belt/manifests/{by}")).await.expect(202);
            let refused = put_manifest(&app, &acme, "acme/belt", "1.0.0", &two).await.expect(409);
            assert!(String::from_utf8_lossy(&refused.body).contains("tag-immutable"));
            get(&app, &acme, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
        }
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &one).await.expect(201);
        put_manifest(&app, &acme, "acme/belt", "latest", &two).await.expect(201);
        push_layer(&app, &acme, "acme/other", b"two", None).await;
        put_manifest(&app, &acme, "acme/other", "1.0.0", &two).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn in_use_is_said_of_a_repository_not_of_a_digest() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let listing = shop::listing(&app, &acme, "belt", false).await;
        let path = format!("/v2/acme/belt/manifests/{}", listing.digest);
        let release = get(&app, &acme, &path).await.expect(200).body;
        let image = ImageManifest::parse(&release).unwrap();
        for layer in image.layers.iter().chain([&image.config]) {
            let mount = format!("/v2/acme/mirror/blobs/uploads/?mount={}&from=acme/belt", layer.digest);
            send(&app, &acme, Method::POST, &mount, &[], b"").await.expect(201);
        }
        put_manifest(&app, &acme, "acme/mirror", "latest", &release).await.expect(201);
        let weights = &image.layers[0].digest;
        delete(&app, &acme, &path).await.expect(409);
        delete(&app, &acme, &format!("/v2/acme/belt/blobs/{weights}")).await.expect(409);
        delete(&app, &acme, "/v2/acme/mirror/manifests/latest").await.expect(202);
        delete(&app, &acme, &format!("/v2/acme/mirror/manifests/{}", listing.digest)).await.expect(202);
        delete(&app, &acme, &format!("/v2/acme/mirror/blobs/{weights}")).await.expect(202);
        get(&app, &acme, &path).await.expect(200);
        get(&app, &acme, &format!("/v2/acme/belt/blobs/{weights}")).await.expect(200);

        // What the vendor attaches may go again; the platform's signature stays, and so do the bytes that it names.
        let subject = Descriptor::of(MANIFEST_TYPE, &release);
        let note = attach(&app, &acme, "acme/belt", &subject, b"note", "n".into()).await;
        let list = get(&app, &acme, &format!("/v2/acme/belt/referrers/{}", listing.digest)).await.expect(200);
        let list = app_package::oci::Index::parse(&list.body).unwrap().manifests;
        assert_eq!((list.len(), &list[1].digest), (2, &note));
        let signature = get(&app, &acme, &format!("/v2/acme/belt/manifests/{}", list[0].digest)).await.expect(200).body;
        let envelope = ImageManifest::parse(&signature).unwrap().layers[0].digest.clone();
        delete(&app, &acme, &format!("/v2/acme/belt/manifests/{}", list[0].digest)).await.expect(409);
        delete(&app, &acme, &format!("/v2/acme/belt/blobs/{envelope}")).await.expect(409);
        delete(&app, &acme, &format!("/v2/acme/belt/manifests/{note}")).await.expect(202);
        delete(&app, &acme, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"note"))).await.expect(202);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_the_version_before_are_linked_at_the_start() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let mut first = String::new();
        for n in 0..20u8 {
            let manifest = push_layer(&app, &acme, "acme/belt", &[n], None).await.to_bytes();
            put_manifest(&app, &acme, "acme/belt", &format!("t{n}"), &manifest).await.expect(201);
            first = Digest::of(&manifest).to_string();
        }
        let rows = || {
            app.db.read(|conn| {
                Ok(manifest_blobs::table
                    .order((manifest_blobs::manifest, manifest_blobs::digest))
                    .load::<(String, String, String)>(conn)?)
            })
        };
        let before = rows().await.unwrap();
        assert_eq!(before.len(), 40, "a layer and a config each");
        run(
            &app,
            format!("UPDATE manifests SET linked = FALSE, visibility = 'kept'; DELETE FROM manifest_blobs WHERE manifest <> '{first}'"),
        )
        .await;
        // While it is unknown what they name, nothing goes.
        let blob = format!("/v2/acme/belt/blobs/{}", Digest::of(&[3u8]));
        delete(&app, &acme, &blob).await.expect(500);
        assert_eq!(links::complete(&app).await.unwrap(), 20);
        assert_eq!(rows().await.unwrap(), before);
        delete(&app, &acme, &blob).await.expect(409);
        assert_eq!(links::complete(&app).await.unwrap(), 0);
        // One that cannot be read is told of, and keeps the others from nothing.
        run(
            &app,
            format!(
                "UPDATE manifests SET linked = FALSE; UPDATE manifests SET content = media_type{} WHERE digest = '{first}'",
                cast(&app).await
            ),
        )
        .await;
        assert_eq!(links::complete(&app).await.unwrap(), 19);
        app.clock.advance(TimeDelta::days(400));
        assert_eq!(crate::registry::collect::collect(&app, false).await.unwrap().links, 0);
    })
    .await;
}

/// What makes a text bytes.
async fn cast(app: &App) -> &'static str {
    app.db.read(|conn| Ok(if matches!(conn, crate::base::db::Conn::Postgres(_)) { "::bytea" } else { "" })).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_or_damaged_is_not_served_and_a_push_mends_it() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let manifest = push_layer(&app, &acme, "acme/belt", b"weights", None).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &manifest).await.expect(201);
        let digest = Digest::of(&manifest);
        let blob = Digest::of(b"weights");
        let blob_path = format!("/v2/acme/belt/blobs/{blob}");
        std::fs::remove_file(app.blobs.local_path(&blob).unwrap()).unwrap();
        for method in [Method::HEAD, Method::GET] {
            assert_eq!(send(&app, &acme, method, &blob_path, &[], b"").await.status, 404);
        }
        let mount = format!("/v2/acme/hoist/blobs/uploads/?mount={blob}&from=acme/belt");
        send(&app, &acme, Method::POST, &mount, &[], b"").await.expect(202);
        push_blob(&app, &acme, "acme/belt", b"weights").await;
        send(&app, &acme, Method::HEAD, &blob_path, &[], b"").await.expect(200);
        send(&app, &acme, Method::POST, &mount, &[], b"").await.expect(201);

        let altered = String::from_utf8(manifest.clone()).unwrap().replace("belt 3", "belt 4");
        let bytes = hex::encode(altered);
        let literal = if cast(&app).await.is_empty() { format!("x'{bytes}'") } else { format!("'\\x{bytes}'") };
        assert!(scrub(&app, |_| {}).await.unwrap().damaged.is_empty());
        run(&app, format!("UPDATE manifests SET content = {literal}")).await;
        for reference in ["1.0.0", digest.as_str()] {
            for method in [Method::HEAD, Method::GET] {
                let answer = send(&app, &acme, method, &format!("/v2/acme/belt/manifests/{reference}"), &[], b"").await;
                assert_eq!(answer.status, 404, "{reference}");
            }
        }
        let found = scrub(&app, |_| {}).await.unwrap();
        assert_eq!((found.manifests, found.damaged.len()), (1, 1));
        assert_eq!((found.damaged[0].damage, found.damaged[0].digest.as_str()), (Damage::Content, digest.as_str()));
        assert_eq!(found.damaged[0].repositories, ["acme/belt"]);
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &manifest).await.expect(201);
        assert_eq!(get(&app, &acme, "/v2/acme/belt/manifests/1.0.0").await.expect(200).body, manifest);
        assert!(scrub(&app, |_| {}).await.unwrap().damaged.is_empty());
        let named = app.db.read(|conn| Ok(manifest_blobs::table.count().get_result::<i64>(conn)?)).await.unwrap();
        assert_eq!(named, 2);
        // Deleted, nothing of it is left.
        delete(&app, &acme, &format!("/v2/acme/belt/manifests/{digest}")).await.expect(202);
        let left = app.db.read(|conn| {
            let rows: i64 = manifests::table.count().get_result(conn)?;
            Ok(rows + tags::table.count().get_result::<i64>(conn)? + manifest_blobs::table.count().get_result::<i64>(conn)?)
        });
        assert_eq!(left.await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_a_vendor_attaches_hides_no_signature_of_the_platform() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let listing = shop::listing(&app, &acme, "belt", false).await;
        let release = get(&app, &acme, &format!("/v2/acme/belt/manifests/{}", listing.digest)).await.expect(200).body;
        let subject = Descriptor::of(MANIFEST_TYPE, &release);
        app.clock.advance(TimeDelta::hours(1));
        for n in 0..55u8 {
            push_blob(&app, &acme, "acme/belt", &[b'[', n]).await;
            let bogus = signature_manifest(VENDOR_SIGNATURE_TYPE, &subject, &[b'[', n]);
            put_manifest(&app, &acme, "acme/belt", Digest::of(&bogus).as_str(), &bogus).await.expect(201);
        }
        let digest = listing.digest.clone();
        let signed = app.db.read(move |conn| service::platform_signature_in(conn, "acme/belt", &digest)).await.unwrap().unwrap();
        let path = format!("/v2/acme/belt/referrers/{}?artifactType=application/vnd.pithead.signature.v1%2Bjson", listing.digest);
        let first = app_package::oci::Index::parse(&get(&app, &acme, &path).await.expect(200).body).unwrap().manifests;
        assert_eq!(first.iter().map(|d| d.digest.as_str()).collect::<Vec<_>>(), [signed.as_str()]);
        // Nobody else attaches one of the platform's type, also where its config says so; the platform's own may come again as it is.
        let forged = signature_manifest(SIGNATURE_TYPE, &subject, &[b'[', 0]);
        let mut named = ImageManifest::parse(&forged).unwrap();
        named.artifact_type = None;
        named.config.media_type = SIGNATURE_TYPE.into();
        for bytes in [forged, named.to_bytes()] {
            let answer = put_manifest(&app, &acme, "acme/belt", Digest::of(&bytes).as_str(), &bytes).await.expect(403);
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((answer.code().as_str(), body["errors"][0]["detail"]["code"].as_str()), ("DENIED", Some("artifact-type-reserved")));
        }
        let own = get(&app, &acme, &format!("/v2/acme/belt/manifests/{signed}")).await.expect(200).body;
        put_manifest(&app, &acme, "acme/belt", &signed, &own).await.expect(201);
        let asked = Subject {
            organization_id: acme.person().unwrap().organization_id.clone(),
            vendor: "acme".into(),
            app: "belt".into(),
            version: "1.0.0".into(),
            digest: listing.digest.clone(),
        };
        let evidence = of_release(&app, &asked).await.unwrap();
        assert_eq!(evidence.signatures.len(), 50);
        assert_eq!(evidence.best(Signer::Platform).map(|s| s.judged.standing), Some(Standing::Valid));
        let other = app.db.read(|conn| service::platform_signature_in(conn, "acme/other", "sha256:x")).await.unwrap();
        assert_eq!(other, None);
    })
    .await;
}

/// With some room left links are counted in parts; the bound is the same.
#[tokio::test]
async fn the_last_room_of_a_repository_is_used_and_no_more() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        start(&app, &acme, "acme/belt").await;
        let counted = "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 99980)";
        run(&app, format!("INSERT INTO blobs (digest, size_bytes, touched_at, created_at) {counted} SELECT 'sha256:' || n, 1, created_at, created_at FROM counted, repositories")).await;
        run(&app, format!("INSERT INTO repository_blobs (repository_id, digest, created_at) {counted} SELECT id, 'sha256:' || n, created_at FROM counted, repositories")).await;
        let mut taken = 0;
        for n in 0..25 {
            let bytes = format!("blob {n}").into_bytes();
            let path = format!("/v2/acme/belt/blobs/uploads/?digest={}", Digest::of(&bytes));
            taken += usize::from(send(&app, &acme, Method::POST, &path, &[], &bytes).await.status == 201);
        }
        assert_eq!(taken, 20);
    })
    .await;
}
