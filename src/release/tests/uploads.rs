//! The browser's way to a release, and what becomes of a version whose bytes fail.

use super::*;
use crate::base::db::schema::blobs as stored_blobs;

fn upload_of(files: &BTreeMap<String, Vec<u8>>) -> Upload {
    let list = files.iter().map(|(path, bytes)| UploadFile {
        path: path.clone(),
        size: bytes.len() as u64,
        digest: Digest::of(bytes).to_string(),
    });
    Upload { yaml: yaml_of(files), files: list.collect() }
}

#[tokio::test]
async fn the_browser_uploads_into_the_inbox_and_finishes_once() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let files = demo();
        let checked = upload::check_upload(&app, &acme, upload_of(&files), None).await.unwrap();
        assert!(checked.faults.is_empty(), "{:?}", checked.faults);
        assert_eq!(checked.summary.unwrap().version, "1.0.0");
        // Absent blobs, also those of somebody else, are told by name.
        assert_eq!(upload::finish_upload(&app, &acme, upload_of(&files), None).await.unwrap_err().code, "upload-blob-missing");
        let other = testing::vendor(&app, "other").await;
        blobs(&app, &other, "other/new.app", &files).await;
        assert_eq!(upload::finish_upload(&app, &acme, upload_of(&files), None).await.unwrap_err().code, "upload-blob-missing");
        blobs(&app, &acme, "acme/new.app", &files).await;
        for _ in 0..2 {
            let address = upload::finish_upload(&app, &acme, upload_of(&files), None).await.unwrap().unwrap();
            assert_eq!(address, "/vendor/apps/coke-quality/releases/1.0.0");
        }
        assert_eq!(detail(&app, &acme).await.release.digest, Digest::of(&image(&files).to_bytes()).to_string());
        assert_eq!(waiting_checks(&app).await, 1);
        // The version is taken while it is checked; the fault stands at its line.
        let again = upload::check_upload(&app, &acme, upload_of(&files), None).await.unwrap();
        assert_eq!((again.faults[0].code, again.faults[0].key.as_str()), ("release-version-taken", "version"));
        assert!(yaml_of(&files).lines().nth(again.faults[0].line.unwrap() as usize - 1).unwrap().starts_with("version:"));
        let changed = with_yaml("format: 1", "format: 1 ");
        blobs(&app, &acme, "acme/new.app", &changed).await;
        let faults = upload::finish_upload(&app, &acme, upload_of(&changed), None).await.unwrap().unwrap_err();
        assert_eq!(faults[0].code, "release-version-taken");
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_stores_nothing() {
    let few = |settings: &mut Settings| settings.checks.per_day = 1;
    testing::each_backend_with(few, |app| async move {
        let acme = testing::vendor(&app, "acme").await;
        blobs(&app, &acme, "acme/new.app", &demo()).await;
        let finish = async |files: &BTreeMap<String, Vec<u8>>| upload::finish_upload(&app, &acme, upload_of(files), None).await;
        let next = with_yaml("version: 1.0.0", "version: 1.1.0");
        let is_stored = async || {
            let digest = Digest::of(&next["app.yaml"]);
            let (of, on_disk) = (digest.to_string(), app.blobs.size(&digest).await.unwrap().is_some());
            let rows: i64 = app.db.read(move |conn| Ok(stored_blobs::table.find(of).count().get_result(conn)?)).await.unwrap();
            on_disk || rows > 0
        };
        registry::quota::set(&app, "acme", Some(0)).await.unwrap();
        assert_eq!(finish(&next).await.unwrap_err().code, "quota-exceeded");
        registry::quota::set(&app, "acme", None).await.unwrap();
        finish(&demo()).await.unwrap().unwrap();
        assert_eq!(finish(&next).await.unwrap_err().code, "too-many-checks");
        assert!(!is_stored().await);
        app.clock.advance(chrono::TimeDelta::days(1));
        finish(&next).await.unwrap().unwrap();
        assert!(is_stored().await);
    })
    .await;
}

#[tokio::test]
async fn a_folder_is_checked_with_lines() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let codes = |checked: upload::UploadReport| checked.faults.iter().map(|f| (f.code, f.line.is_some())).collect::<Vec<_>>();
        let other = upload::check_upload(&app, &acme, upload_of(&demo()), Some("belt-watch".into())).await.unwrap();
        assert_eq!(codes(other), [("upload-other-app", true)]);
        let lost = upload_of(&with_yaml("scenario: coke-quality", "scenario: no-such-thing"));
        let lost = upload::check_upload(&app, &acme, lost, None).await.unwrap();
        assert!(lost.faults[0].message.zh != lost.faults[0].message.en);
        assert_eq!(codes(lost), [("scenario-unknown", true)]);
        let mut tricks = upload_of(&demo());
        tricks.files.push(UploadFile { path: "../evil".into(), size: 1, digest: String::new() });
        assert_eq!(codes(upload::check_upload(&app, &acme, tricks, None).await.unwrap()), [("path-parent", false)]);
        let mine = testing::operator(&app, "mine").await;
        assert_eq!(upload::check_upload(&app, &mine, upload_of(&demo()), None).await.unwrap_err().code, "not-permitted");
    })
    .await;
}

#[tokio::test]
async fn a_version_is_used_up_only_when_its_bytes_have_passed() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let id = received(&app, &acme).await;
        let first = detail(&app, &acme).await.release;
        let (corrected, name) = (with_yaml("format: 1", "format: 1 "), "acme/coke-quality");
        blobs(&app, &acme, name, &corrected).await;
        // Taken while it is checked.
        assert_eq!(put(&app, &acme, name, "1.0.0", &image(&corrected)).await.unwrap_err().code, "tag-immutable");
        // There is no engine here: the check fails.
        testing::drain_jobs(&app).await;
        assert_eq!(detail(&app, &acme).await.release.state, ReleaseState::Failed);
        let checked = upload::check_upload(&app, &acme, upload_of(&corrected), None).await.unwrap();
        assert!(checked.faults.is_empty(), "{:?}", checked.faults);
        let digest = put(&app, &acme, name, "1.0.0", &image(&corrected)).await.unwrap();
        let replaced = detail(&app, &acme).await;
        assert!(replaced.report.is_none(), "the report of the bytes before is shown for these");
        let second = replaced.release;
        assert_eq!((second.id.as_str(), second.state, second.digest.as_str()), (id.as_str(), ReleaseState::Checking, digest.as_str()));
        assert!(second.digest != first.digest && second.created_at >= first.created_at);
        assert_eq!(waiting_checks(&app).await, 1);
        // A check of the bytes before that ends late says nothing of these.
        let stale = first.clone();
        let late = audit::change(&app, &Actor::System, move |c| {
            let now = c.now;
            service::transition(c, &stale, Event::CheckPassed, now)
        })
        .await;
        assert_eq!(late.unwrap_err().code, "release-state");
        // Failed again, and by the browser; also where the tag was deleted meanwhile.
        testing::drain_jobs(&app).await;
        let repository = testing::repository(&app, &acme, name).await;
        let tag = Reference::parse("1.0.0").unwrap();
        registry::manifests::delete(&app, &acme, repository, tag, Expected::default()).await.unwrap();
        blobs(&app, &acme, name, &demo()).await;
        upload::finish_upload(&app, &acme, upload_of(&demo()), None).await.unwrap().unwrap();
        assert_eq!(detail(&app, &acme).await.release.digest, first.digest);
        // Once it has passed, it is used up.
        mark(&app, &id, ReleaseState::Checking, ReleaseState::Ready).await;
        assert_eq!(put(&app, &acme, name, "1.0.0", &image(&corrected)).await.unwrap_err().code, "tag-immutable");
        let again = upload::check_upload(&app, &acme, upload_of(&corrected), None).await.unwrap();
        assert_eq!(again.faults[0].code, "release-version-taken");
        let received: Vec<String> = app
            .db
            .read(|conn| {
                let of = audit_records::action.eq("release.received");
                Ok(audit_records::table.filter(of).order(audit_records::sequence).select(audit_records::detail).load(conn)?)
            })
            .await
            .unwrap();
        assert!(received.len() == 3 && received[1].contains(&first.digest) && received[2].contains(digest.as_str()), "{received:?}");
    })
    .await;
}
