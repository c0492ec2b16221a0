//! Releases on both backends, with a real app of the demo. The check with the real engine is in `tests/system/release.rs`.

use std::collections::BTreeMap;

use app_package::digest::Digest;
use app_package::dsse::{Envelope, ReleaseStatement};
use app_package::oci::{
    ARTIFACT_TYPE, CONFIG_TYPE, Descriptor, ImageManifest, MANIFEST_TYPE, PackedFile, SIGNATURE_TYPE, TITLE, build_manifest, config_json,
};
use app_package::path::PackagePath;
use app_package::validate;
use diesel::prelude::*;

use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::config::Settings;
use crate::base::db::schema::{audit_records, jobs as jobs_table, manifests, releases, tags};
use crate::base::error::{Kind, Result};
use crate::base::i18n::Lang;
use crate::http::page::{FormErrors, Page};
use crate::registry::manifests::Push;
use crate::registry::model::{Expected, Reference, Visibility};
use crate::release::arrival;
use crate::release::lifecycle::DeprecationForm;
use crate::release::malware::tests::scanner_at;
use crate::release::model::{Channel, Event, ReleaseState};
use crate::release::upload::{Upload, UploadFile};
use crate::release::{jobs, service, store, upload};
use crate::site::vendor::console;
use crate::site::vendor::releases::{ReleasePage, ReleaseView};
use crate::testing::each_backend;
use crate::trust::evidence::Evidence;
use crate::{audit, registry, testing};

mod uploads;

const APP: &str = "coke-quality";

fn demo() -> BTreeMap<String, Vec<u8>> {
    testing::demo_app(APP)
}

fn yaml_of(files: &BTreeMap<String, Vec<u8>>) -> String {
    String::from_utf8(files["app.yaml"].clone()).unwrap()
}

fn with_yaml(from: &str, to: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = demo();
    let yaml = yaml_of(&files);
    assert!(yaml.contains(from), "{from}");
    files.insert("app.yaml".into(), yaml.replacen(from, to, 1).into_bytes());
    files
}

async fn blobs(app: &App, actor: &Actor, repository_name: &str, files: &BTreeMap<String, Vec<u8>>) {
    let repository = testing::repository(app, actor, repository_name).await;
    for bytes in files.values() {
        registry::service::store_blob_small(app, &repository.id, bytes).await.unwrap();
    }
    if let Ok(manifest) = validate::parse(&yaml_of(files)) {
        registry::service::store_blob_small(app, &repository.id, &config_json(&manifest)).await.unwrap();
    }
}

fn image(files: &BTreeMap<String, Vec<u8>>) -> ImageManifest {
    let manifest = validate::parse(&yaml_of(files)).unwrap();
    let packed: Vec<PackedFile> = files
        .iter()
        .map(|(path, bytes)| PackedFile { path: PackagePath::parse(path).unwrap(), digest: Digest::of(bytes), size: bytes.len() as u64 })
        .collect();
    ImageManifest::parse(&build_manifest(&manifest, "acme", &packed)).unwrap()
}

async fn put(app: &App, actor: &Actor, repository: &str, tag: &str, image: &ImageManifest) -> Result<Digest> {
    let push = Push::read(Reference::parse(tag)?, Vec::new(), MANIFEST_TYPE, image.to_bytes().into())?;
    let digest = push.digest.clone();
    arrival::push(app, actor, testing::repository(app, actor, repository).await, push.into()).await?;
    Ok(digest)
}

/// A release of the demo app in state `checking`; its id.
async fn received(app: &App, actor: &Actor) -> String {
    let files = demo();
    let name = format!("acme/{APP}");
    blobs(app, actor, &name, &files).await;
    put(app, actor, &name, "1.0.0", &image(&files)).await.unwrap();
    detail(app, actor).await.release.id
}

async fn detail(app: &App, actor: &Actor) -> console::ReleaseDetail {
    console::release_detail(app, actor, Lang::En, APP, "1.0.0").await.unwrap()
}

async fn mark(app: &App, id: &str, from: ReleaseState, to: ReleaseState) {
    let (id, now) = (id.to_owned(), app.clock.now());
    app.db.write(move |conn| service::mark_in(conn, &id, &[from], to, now)).await.unwrap();
}

async fn waiting_checks(app: &App) -> i64 {
    app.db.read(|conn| Ok(jobs_table::table.filter(jobs_table::kind.eq("check-release")).count().get_result(conn)?)).await.unwrap()
}

#[tokio::test]
async fn a_pushed_manifest_becomes_a_release_once() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let id = received(&app, &acme).await;
        let first = detail(&app, &acme).await;
        assert_eq!(first.release.state, ReleaseState::Checking);
        assert!(first.release.size_bytes > 1000);
        assert_eq!(waiting_checks(&app).await, 1);
        // The same again changes nothing.
        put(&app, &acme, "acme/coke-quality", "1.0.0", &image(&demo())).await.unwrap();
        assert_eq!(detail(&app, &acme).await.release.id, id);
        assert_eq!(waiting_checks(&app).await, 1);
        let (apps, next) = console::apps(&app, &acme, None).await.unwrap();
        assert_eq!((apps.len(), next, apps[0].latest.clone()), (1, None, Some(("1.0.0".into(), ReleaseState::Checking))));
        let (figures, waiting) = console::overview(&app, &acme).await.unwrap();
        assert_eq!((figures.apps, figures.in_review, waiting.len()), (1, 0, 1));
        // Nobody else sees it.
        let other = testing::vendor(&app, "other").await;
        assert_eq!(console::release_detail(&app, &other, Lang::En, APP, "1.0.0").await.unwrap_err().code, "release");
        assert_eq!(crate::moderation::submission::submit(&app, &other, &id, Channel::Stable).await.unwrap_err().code, "release");
    })
    .await;
}

#[tokio::test]
async fn so_many_checks_wait_and_so_many_are_asked_for_in_a_day() {
    let few = |settings: &mut crate::base::config::Settings| {
        settings.checks.waiting_per_organization = 2;
        settings.checks.per_day = 4;
    };
    testing::each_backend_with(few, |app| async move {
        let (acme, other) = (testing::vendor(&app, "acme").await, testing::vendor(&app, "other").await);
        let push = async |who: &Actor, n: u32| {
            let yaml = format!("version: 1.{n}.0");
            crate::testing::shop::push(&app, who, &with_yaml("version: 1.0.0", &yaml)).await.map(|_| ())
        };
        push(&acme, 0).await.unwrap();
        push(&acme, 1).await.unwrap();
        let refused = push(&acme, 2).await.unwrap_err();
        assert_eq!((refused.code, refused.kind, refused.retry_after), ("too-many-checks-waiting", Kind::RateLimited, Some(60)));
        let stored: (i64, i64) =
            app.db.read(|conn| Ok((manifests::table.count().get_result(conn)?, releases::table.count().get_result(conn)?))).await.unwrap();
        assert_eq!((stored, waiting_checks(&app).await), ((2, 2), 2), "nothing of it is kept");
        push(&acme, 1).await.unwrap();
        push(&other, 0).await.unwrap();
        // The checks fail (there is no engine here), which makes room; one that is asked for again counts.
        testing::drain_jobs(&app).await;
        push(&acme, 2).await.unwrap();
        push(&acme, 0).await.unwrap();
        testing::drain_jobs(&app).await;
        let refused = push(&acme, 3).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after), ("too-many-checks", Some(6 * 3600)));
        push(&other, 1).await.unwrap();
        app.clock.advance(chrono::TimeDelta::hours(6));
        push(&acme, 3).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_whole_and_leaves_nothing() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let (good, right) = (demo(), format!("acme/{APP}"));
        blobs(&app, &acme, &right, &good).await;
        blobs(&app, &acme, "acme/another", &good).await;
        assert_eq!(put(&app, &acme, &right, "1.0.1", &image(&good)).await.unwrap_err().code, "release-tag");
        assert_eq!(put(&app, &acme, "acme/another", "1.0.0", &image(&good)).await.unwrap_err().code, "release-name");
        let lost = with_yaml("scenario: coke-quality", "scenario: belt-tear");
        blobs(&app, &acme, &right, &lost).await;
        assert_eq!(put(&app, &acme, &right, "1.0.0", &image(&lost)).await.unwrap_err().code, "scenario-unknown");
        let broken = with_yaml("format: 1", "format: 1\nunknown: 2");
        blobs(&app, &acme, &right, &broken).await;
        let mut of_broken = image(&good);
        let layer = of_broken.layers.iter_mut().find(|l| l.path().unwrap().as_str() == "app.yaml").unwrap();
        (layer.digest, layer.size) = (Digest::of(&broken["app.yaml"]), broken["app.yaml"].len() as u64);
        let error = put(&app, &acme, &right, "1.0.0", &of_broken).await.unwrap_err();
        assert_eq!(error.code, "release-invalid");
        assert!(error.args.iter().any(|(name, text)| *name == "en" && text.contains("unknown")), "{error}");
        // Two versions at once: the first fits, and still nothing of it is kept.
        let bytes = image(&good).to_bytes();
        let both = vec!["1.0.0".to_owned(), "2.0.0".to_owned()];
        let push = Push::read(Reference::Digest(Digest::of(&bytes)), both, MANIFEST_TYPE, bytes.into()).unwrap();
        let repository = testing::repository(&app, &acme, &right).await;
        assert_eq!(arrival::push(&app, &acme, repository, push.into()).await.unwrap_err().code, "release-tag");
        let left: (i64, i64, i64, i64) = app
            .db
            .read(|conn| {
                let recorded = audit_records::table.filter(audit_records::action.eq_any(["manifest.pushed", "release.received"]));
                Ok((
                    manifests::table.count().get_result(conn)?,
                    tags::table.count().get_result(conn)?,
                    releases::table.count().get_result(conn)?,
                    recorded.count().get_result(conn)?,
                ))
            })
            .await
            .unwrap();
        assert_eq!((left, waiting_checks(&app).await), ((0, 0, 0, 0), 0));
        put(&app, &acme, &right, "1.0.0", &image(&good)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn crafted_manifests_are_refused() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let (files, name) = (demo(), format!("acme/{APP}"));
        blobs(&app, &acme, &name, &files).await;
        let good = image(&files);
        let titled = |title: Option<&str>| {
            let mut image = good.clone();
            image.layers[0].annotations = title.map(|t| [(TITLE.to_owned(), t.to_owned())].into());
            image
        };
        for title in
            [Some("../../keys/platform.pem"), Some("/etc/passwd"), Some("a\\b"), Some("model.onnx/x"), Some("C:/x"), Some(""), None]
        {
            assert_eq!(put(&app, &acme, &name, "1.0.0", &titled(title)).await.unwrap_err().code, "release-path", "{title:?}");
        }
        assert_eq!(put(&app, &acme, &name, "1.0.0", &titled(Some("model.onnx"))).await.unwrap_err().code, "release-path-twice");
        let without = |path: &str| {
            let mut image = good.clone();
            image.layers.retain(|l| l.path().unwrap().as_str() != path);
            image
        };
        // A foreign layer need not be in the repository: it could read another vendor's blob by its digest.
        let other = testing::vendor(&app, "other").await;
        let theirs = b"weights of another vendor";
        let elsewhere = testing::repository(&app, &other, "other/secret").await;
        registry::service::store_blob_small(&app, &elsewhere.id, theirs).await.unwrap();
        let mut foreign = image(&files);
        let layer = foreign.layers.iter_mut().find(|l| l.path().unwrap().as_str() == "README.md").unwrap();
        (layer.digest, layer.size) = (Digest::of(theirs), theirs.len() as u64);
        layer.media_type = "application/vnd.test.foreign.file".into();
        assert_eq!(put(&app, &acme, &name, "1.0.0", &foreign).await.unwrap_err().code, "release-malformed");
        assert_eq!(put(&app, &acme, &name, "1.0.0", &without("app.yaml")).await.unwrap_err().code, "release-no-yaml");
        assert_eq!(put(&app, &acme, &name, "1.0.0", &without("model.onnx")).await.unwrap_err().code, "release-invalid");
        let other = b"{}".as_slice();
        let repository = testing::repository(&app, &acme, &name).await;
        registry::service::store_blob_small(&app, &repository.id, other).await.unwrap();
        let config = ImageManifest { config: Descriptor::of(CONFIG_TYPE, other), ..good.clone() };
        assert_eq!(put(&app, &acme, &name, "1.0.0", &config).await.unwrap_err().code, "release-config");
        let kind =
            ImageManifest { config: Descriptor::of("application/octet-stream", other), artifact_type: Some(ARTIFACT_TYPE.into()), ..good };
        assert_eq!(put(&app, &acme, &name, "1.0.0", &kind).await.unwrap_err().code, "release-malformed");
    })
    .await;
}

#[tokio::test]
async fn a_check_that_cannot_start_fails_with_that_reason_and_can_be_repeated() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let id = received(&app, &acme).await;
        testing::drain_jobs(&app).await;
        let failed = detail(&app, &acme).await;
        assert_eq!(failed.release.state, ReleaseState::Failed);
        let (report, _) = failed.report.clone().unwrap();
        assert_eq!(report.steps[0].reason.as_deref(), Some("engine-missing"));
        // Done again it does nothing; asked for again it runs again.
        jobs::check(&app, &id).await.unwrap();
        assert_eq!(crate::moderation::submission::submit(&app, &acme, &id, Channel::Stable).await.unwrap_err().code, "release-state");
        service::recheck(&app, &acme, &id).await.unwrap();
        assert_eq!(detail(&app, &acme).await.release.state, ReleaseState::Checking);
        assert_eq!(service::recheck(&app, &acme, &id).await.unwrap_err().code, "release-state");
        testing::drain_jobs(&app).await;
        assert_eq!(detail(&app, &acme).await.release.state, ReleaseState::Failed);
        assert!(!app.settings.data_dir.0.join("checks").join(&id).exists());
        // The page says it in words.
        let page = Page::of(&actix_web::test::TestRequest::default().to_http_request(), "");
        let view = ReleaseView::of(&page, &failed, &Evidence::default());
        assert_eq!(view.report.checks[0].found, page.t("check-reason-engine-missing"));
        let view = ReleasePage {
            page,
            view,
            comparison: None,
            others: vec!["0.9.0".into()],
            successors: Some(Vec::new()),
            form: DeprecationForm::default(),
            errors: FormErrors::default(),
        };
        let html = askama::Template::render(&view).unwrap();
        for key in ["release-", "check-", "card-", "golden-", "vendor-", "difference-"] {
            assert!(!html.contains(&format!(">{key}")), "a key shows: {key}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_scanner_speaks_before_anything_runs() {
    let with_scanner = |settings: &mut Settings| {
        settings.checks.clamd_socket = settings.data_dir.0.join("clamd.sock").display().to_string();
    };
    testing::each_backend_with(with_scanner, |app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let id = received(&app, &acme).await;
        let socket = std::path::PathBuf::from(&app.settings.checks.clamd_socket);
        // Out of reach: tried again, and no verdict meanwhile.
        assert_eq!(jobs::check(&app, &id).await.unwrap_err().code, "scanner-unreachable");
        assert_eq!(detail(&app, &acme).await.release.state, ReleaseState::Checking);
        // It finds nothing: the check goes on, to the engine that is not there.
        scanner_at(&socket, b"in no file");
        testing::drain_jobs(&app).await;
        let reason = |detail: console::ReleaseDetail| detail.report.unwrap().0.steps[0].clone();
        assert_eq!(reason(detail(&app, &acme).await).reason.as_deref(), Some("engine-missing"));
        // The same package to one that knows the name of its first scenario as a virus.
        scanner_at(&socket, b"coke-quality");
        service::recheck(&app, &acme, &id).await.unwrap();
        testing::drain_jobs(&app).await;
        let failed = detail(&app, &acme).await;
        assert_eq!(failed.release.state, ReleaseState::Failed);
        let step = reason(failed);
        assert_eq!(step.reason.as_deref(), Some("malware-found"));
        assert!(step.detail.unwrap().contains("Eicar-Test-Signature"));
        assert!(!app.settings.data_dir.0.join("checks").join(&id).exists());
    })
    .await;
}

#[tokio::test]
async fn a_check_whose_files_are_gone_ends_with_that_instead_of_waiting_for_ever() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let id = received(&app, &acme).await;
        let (_, model) = demo().into_iter().find(|(path, _)| path.ends_with(".onnx")).unwrap();
        std::fs::remove_file(app.blobs.local_path(&Digest::of(&model)).unwrap()).unwrap();
        for _ in 0..7 {
            testing::drain_jobs(&app).await;
            app.clock.advance(chrono::TimeDelta::minutes(20));
            assert_eq!(detail(&app, &acme).await.release.state, ReleaseState::Checking);
        }
        testing::drain_jobs(&app).await;
        let failed = detail(&app, &acme).await;
        assert_eq!(failed.release.state, ReleaseState::Failed);
        assert_eq!(failed.report.unwrap().0.steps[0].reason.as_deref(), Some("check-not-run"));
        // With the file back, as after a restored backup, the vendor has it checked again.
        blobs(&app, &acme, &format!("acme/{APP}"), &demo()).await;
        service::recheck(&app, &acme, &id).await.unwrap();
        testing::drain_jobs(&app).await;
        let again = detail(&app, &acme).await;
        assert_eq!(again.report.unwrap().0.steps[0].reason.as_deref(), Some("engine-missing"));
    })
    .await;
}

#[tokio::test]
async fn approval_publishes_with_a_signature_that_verifies() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let id = received(&app, &acme).await;
        mark(&app, &id, ReleaseState::Checking, ReleaseState::Ready).await;
        crate::moderation::submission::submit(&app, &acme, &id, Channel::Stable).await.unwrap();
        assert_eq!(crate::moderation::submission::submit(&app, &acme, &id, Channel::Stable).await.unwrap_err().code, "release-state");
        let (own, release_id, now) = (app.clone(), id.clone(), app.clock.now());
        crate::audit::change(&app, &moderator, move |c| service::approve_in(c, &own, &release_id)).await.unwrap();
        let published = detail(&app, &acme).await;
        assert_eq!(published.release.state, ReleaseState::Published);
        assert_eq!(published.release.published_at, Some(now));
        let (own, release_id) = (app.clone(), id.clone());
        let again = crate::audit::change(&app, &moderator, move |c| service::approve_in(c, &own, &release_id)).await;
        assert_eq!(again.unwrap_err().code, "release-state");

        let digest = published.release.digest.clone();
        let content: Vec<u8> = app
            .db
            .read(move |conn| {
                let referrer = manifests::subject.eq(&digest).and(manifests::artifact_type.eq(SIGNATURE_TYPE));
                Ok(manifests::table.filter(referrer).select(manifests::content).first(conn)?)
            })
            .await
            .unwrap();
        let envelope = ImageManifest::parse(&content).unwrap().layers[0].digest.clone();
        let envelope = Envelope::parse(&app.blobs.read_small(&envelope, 65_536).await.unwrap()).unwrap();
        let statement = ReleaseStatement::verify(&envelope, &app.keys.get().approve.set).unwrap();
        assert_eq!(statement.digest.to_string(), published.release.digest);
        assert_eq!((statement.vendor.as_str(), statement.app.as_str(), statement.verdict.as_str()), ("acme", APP, "approved"));

        let app_id = published.release.app_id.clone();
        let latest = app.db.read(move |conn| service::latest_published(conn, &app_id)).await.unwrap();
        assert_eq!(latest.unwrap().id, id);
    })
    .await;
}

#[tokio::test]
async fn a_marked_state_must_follow() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let id = received(&app, &acme).await;
        let now = app.clock.now();
        let leap = {
            let id = id.clone();
            app.db.write(move |conn| service::mark_in(conn, &id, &[ReleaseState::Checking], ReleaseState::Published, now)).await
        };
        assert_eq!(leap.unwrap_err().code, "release-state");
        let digest = detail(&app, &acme).await.release.digest;
        let rows = app
            .db
            .write(move |conn| Ok(store::mark(conn, &id, &digest, &[ReleaseState::Ready], ReleaseState::InReview, now)?))
            .await
            .unwrap();
        assert_eq!(rows, 0);
    })
    .await;
}

#[tokio::test]
async fn the_registry_hears_who_may_see_a_release_and_whether_it_must_stay() {
    each_backend(|app| async move {
        use ReleaseState as S;
        let acme = testing::vendor(&app, "acme").await;
        let id = received(&app, &acme).await;
        let repository = testing::repository(&app, &acme, &format!("acme/{APP}")).await;
        let shown = || app.db.read(|conn| Ok(manifests::table.select(manifests::visibility).first::<Visibility>(conn)?));
        let delete = || {
            let repository = repository.clone();
            registry::manifests::delete(&app, &acme, repository, Reference::Tag("1.0.0".into()), Expected::default())
        };
        assert_eq!(shown().await.unwrap(), Visibility::Kept);
        assert_eq!(delete().await.unwrap_err().code, "release-in-use");
        mark(&app, &id, S::Checking, S::Failed).await;
        assert_eq!(shown().await.unwrap(), Visibility::Private);
        service::recheck(&app, &acme, &id).await.unwrap();
        for (from, to, expected) in [
            (S::Checking, S::Ready, Visibility::Kept),
            (S::Ready, S::InReview, Visibility::Kept),
            (S::InReview, S::Published, Visibility::Public),
            (S::Published, S::Deprecated, Visibility::Public),
            (S::Deprecated, S::Recalled, Visibility::Kept),
        ] {
            mark(&app, &id, from, to).await;
            assert_eq!(shown().await.unwrap(), expected, "{to}");
            assert_eq!(delete().await.unwrap_err().code, "release-in-use", "{to}");
        }
        // Refused for good it may go.
        let now = app.clock.now();
        let release = id.clone();
        app.db
            .write(move |conn| Ok(diesel::update(releases::table.find(&release)).set(releases::state.eq(S::InReview)).execute(conn)?))
            .await
            .unwrap();
        app.db.write(move |conn| service::mark_in(conn, &id, &[S::InReview], S::Rejected, now)).await.unwrap();
        assert_eq!(shown().await.unwrap(), Visibility::Private);
        delete().await.unwrap();
    })
    .await;
}
