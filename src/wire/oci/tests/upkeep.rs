//! Garbage collection, scrub, quotas.

use super::*;
use crate::base::jobs::Job;
use crate::registry::collect::{CollectReport, collect};
use crate::registry::scrub::{Damage, scrub};
use crate::registry::{jobs, quota};

/// Longer ago than any file of the test, whose times are the real ones.
const LONG: TimeDelta = TimeDelta::days(400);

async fn blob_there(app: &App, digest: &Digest) -> bool {
    app.blobs.size(digest).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_manifest_names_goes_after_the_grace_time_and_nothing_else() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let manifest = push_layer(&app, &acme, "acme/belt", b"weights", None).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &manifest).await.expect(201);
        // The same bytes in another repository, where nothing names them.
        push_blob(&app, &acme, "acme/hoist", b"weights").await;
        let loose = push_blob(&app, &acme, "acme/hoist", b"never named").await;
        assert_eq!(collect(&app, false).await.unwrap(), CollectReport::default(), "all is young");
        app.clock.advance(LONG);
        let young = push_blob(&app, &acme, "acme/hoist", b"just sent").await;
        let expected = CollectReport { links: 2, blobs: 0, bytes: 0, strays: 0, staged: 0 };
        assert_eq!(collect(&app, true).await.unwrap(), expected, "a dry run counts");
        assert!(blob_there(&app, &loose).await, "and removes nothing");
        let expected = CollectReport { links: 2, blobs: 1, bytes: 11, strays: 0, staged: 0 };
        assert_eq!(collect(&app, false).await.unwrap(), expected);
        assert!(!blob_there(&app, &loose).await);
        assert!(blob_there(&app, &young).await && blob_there(&app, &Digest::of(b"weights")).await);
        get(&app, &acme, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"weights"))).await.expect(200);
        get(&app, &acme, &format!("/v2/acme/hoist/blobs/{}", Digest::of(b"weights"))).await.expect(404);
        // With its manifest deleted, its content goes too.
        app.clock.advance(LONG);
        send(&app, &acme, Method::DELETE, &format!("/v2/acme/belt/manifests/{}", Digest::of(&manifest)), &[], b"").await.expect(202);
        let collected = collect(&app, false).await.unwrap();
        assert_eq!((collected.links, collected.blobs), (3, 3), "{collected:?}");
        assert!(!blob_there(&app, &Digest::of(b"weights")).await);
        push_blob(&app, &acme, "acme/belt", b"weights").await;
        get(&app, &acme, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"weights"))).await.expect(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_just_saw_a_blob_may_still_name_it() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let manifest = push_layer(&app, &acme, "acme/belt", b"weights", None).await.to_bytes();
        app.clock.advance(LONG);
        // A client that asks and is told "there" leaves the blob out of its upload.
        for bytes in [&b"weights"[..], EMPTY_BYTES] {
            send(&app, &acme, Method::HEAD, &format!("/v2/acme/belt/blobs/{}", Digest::of(bytes)), &[], b"").await.expect(200);
        }
        assert_eq!(collect(&app, false).await.unwrap(), CollectReport::default());
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &manifest).await.expect(201);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_crash_go_and_an_open_upload_stays() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let open = start(&app, &acme, "acme/belt").await;
        send(&app, &acme, Method::PATCH, &open, &[], b"half").await.expect(202);
        // Bytes stored, and the server gone before it said so; an upload ended, and its file left.
        app.blobs.append_at("upl_left", 0).await.unwrap().write_all(b"stray").await.unwrap();
        let stray = Digest::of(b"stray");
        app.blobs.publish("upl_left", &stray).await.unwrap();
        assert!(blob_there(&app, &stray).await);
        let found = collect(&app, false).await.unwrap();
        assert_eq!(found, CollectReport::default(), "young leftovers may be somebody's work");
        app.clock.advance(LONG);
        let found = collect(&app, false).await.unwrap();
        assert_eq!((found.strays, found.staged), (1, 1), "{found:?}");
        assert!(!blob_there(&app, &stray).await && !app.blobs.staged("upl_left").exists());
        assert!(app.blobs.staged(open.rsplit('/').next().unwrap()).exists(), "its row ends it, not the collection");
    })
    .await;
}

/// Uploads and collections of the same bytes at once: what was acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_collection_never_takes_what_was_just_acknowledged() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        for _ in 0..20 {
            push_blob(&app, &acme, "acme/belt", b"the same").await;
            app.clock.advance(LONG);
            // The first run takes the link, so that the row is loose when both race.
            let (pushed, collected) = tokio::join!(push_blob(&app, &acme, "acme/belt", b"the same"), collect(&app, false));
            collected.unwrap();
            assert!(blob_there(&app, &pushed).await);
            get(&app, &acme, &format!("/v2/acme/belt/blobs/{pushed}")).await.expect(200);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_look_for_uploads_that_are_over_waits_for_its_time() {
    use diesel::prelude::*;

    use crate::base::db::schema::uploads;
    use crate::base::jobs::{Lane, run_one};
    use crate::server::work::WORKER;
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        start(&app, &acme, "acme/belt").await;
        assert!(!run_one(&app, Lane::Prompt, WORKER).await.unwrap(), "the upload has a week");
        for _ in 0..10 {
            app.clock.advance(TimeDelta::hours(23));
            while run_one(&app, Lane::Prompt, WORKER).await.unwrap() {}
        }
        let left: i64 = app.db.read(|conn| Ok(uploads::table.count().get_result(conn)?)).await.unwrap();
        assert_eq!(left, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_plan_the_next_one() {
    each_backend(|app| async move {
        jobs::plan_collection(&app).await.unwrap();
        jobs::plan_collection(&app).await.unwrap();
        for _ in 0..3 {
            app.clock.advance(TimeDelta::hours(25));
            testing::drain_jobs(&app).await;
            let waiting = app
                .db
                .read(|conn| {
                    use crate::base::db::schema::jobs::dsl;
                    use diesel::prelude::*;
                    Ok(dsl::jobs.filter(dsl::kind.eq("collect-garbage")).select(dsl::payload).load::<String>(conn)?)
                })
                .await
                .unwrap();
            assert_eq!(waiting, [serde_json::to_string(&Job::CollectGarbage).unwrap()]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_finds_what_is_missing_cut_or_changed() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let digests = [b"one", b"two", b"six", b"ten"].map(<[u8; 3]>::as_slice);
        let mut paths = Vec::new();
        for bytes in digests {
            let digest = push_blob(&app, &acme, "acme/belt", bytes).await;
            paths.push(app.blobs.local_path(&digest).unwrap());
        }
        let clean = scrub(&app, |_| {}).await.unwrap();
        assert_eq!((clean.blobs, clean.bytes, clean.damaged.len()), (4, 12, 0));
        std::fs::remove_file(&paths[0]).unwrap();
        std::fs::write(&paths[1], "tw").unwrap();
        std::fs::write(&paths[2], "sax").unwrap();
        let mut heard = 0;
        let found = scrub(&app, |_| heard += 1).await.unwrap();
        let of = |bytes: &[u8]| found.damaged.iter().find(|d| d.digest == Digest::of(bytes).as_str()).map(|d| d.damage);
        assert_eq!(
            [of(b"one"), of(b"two"), of(b"six"), of(b"ten")],
            [Some(Damage::Missing), Some(Damage::Size), Some(Damage::Content), None]
        );
        assert_eq!(heard, 3);
        assert!(found.damaged.iter().all(|d| d.repositories == ["acme/belt"]));
        push_blob(&app, &acme, "acme/belt", b"six").await;
        assert_eq!(scrub(&app, |_| {}).await.unwrap().damaged.len(), 2, "an upload of the same bytes mends it");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_refuses_more_and_says_so() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let other = testing::vendor(&app, "other").await;
        push_blob(&app, &acme, "acme/belt", b"weights").await;
        push_blob(&app, &acme, "acme/hoist", b"weights").await;
        let half = start(&app, &acme, "acme/belt").await;
        send(&app, &acme, Method::PATCH, &half, &[], b"half").await.expect(202);
        let used = quota::show(&app, "acme").await.unwrap().used;
        assert_eq!(used, 4096 + 2 * 256 + 4, "each blob once, each link, and what has come of uploads");
        assert_eq!(quota::set(&app, "acme", Some(0)).await.unwrap().limit, 0);
        let refused = send(&app, &acme, Method::POST, "/v2/acme/belt/blobs/uploads/", &[], b"").await.expect(403);
        assert_eq!(refused.code(), "DENIED");
        assert!(String::from_utf8_lossy(&refused.body).contains("quota-exceeded"));
        send(&app, &acme, Method::PATCH, &half, &[], b"more").await.expect(403);
        // A short chunk of what has begun may still come, and what has come may be finished and read.
        send(&app, &acme, Method::PATCH, &half, &[("content-length", "5")], b"-done").await.expect(202);
        send(&app, &acme, Method::PUT, &format!("{half}?digest={}", Digest::of(b"half-done")), &[("content-length", "0")], b"")
            .await
            .expect(201);
        get(&app, &acme, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"half-done"))).await.expect(200);
        push_blob(&app, &other, "other/belt", b"weights").await;
        quota::set(&app, "acme", None).await.unwrap();
        push_blob(&app, &acme, "acme/belt", b"more").await;
        assert_eq!(quota::set(&app, "nobody", Some(1)).await.unwrap_err().code, "organization");
    })
    .await;
}
