//! Searching the catalogue, and following scenarios that have no app, on both backends.

use std::sync::atomic::Ordering;

use actix_web::http::{Method, header};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::Data;
use app_package::manifest::Provider;
use chrono::TimeDelta;
use diesel::prelude::*;
use inference::check::{CheckReport, Hardware, RunCard};
use inference::column::{Column, Figures};
use inference::golden::{GoldenReport, SampleReport};
use inference::measure::{Latency, Measured};
use inference::provider::ProviderInfo;

use super::follow;
use super::known::KnownCatalogue;
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::Json;
use crate::base::db::schema::{apps, check_reports, measurements, plans, releases, scenario_follows, users};
use crate::base::error::Kind;
use crate::base::i18n::Lang;
use crate::base::notify::NoticeKind;
use crate::catalog::follows::{self, MAX_FOLLOWED};
use crate::catalog::model::{AppRow, ListingState, PlanKind, PricePlan};
use crate::catalog::query::{CatalogQuery, PAGE};
use crate::catalog::search::{self, SearchResult};
use crate::notice::model::Message;
use crate::release::model::{Release, ReleaseState};
use crate::testing::shop::{Shop, listing, shop};
use crate::testing::{self, count_queries, drain_jobs, each_backend, each_backend_racing, each_backend_with, page, race};

/// An app as far as a search sees it: slug, titles, summary, specialty, scenario, deployments.
type Sketch = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, i64);

/// Lists apps, a minute between them, and has them found.
async fn list(app: &App, vendor: &Actor, sketches: Vec<Sketch>) {
    let organization_id = vendor.organization_id().unwrap().to_owned();
    let begun = app.clock.now();
    app.db
        .write(move |conn| {
            for (minutes, (slug, title_zh, title_en, summary, specialty, scenario, deployments)) in (0..).zip(sketches) {
                let at = begun.plus(TimeDelta::minutes(minutes));
                let row = AppRow {
                    id: format!("app_{slug}"),
                    organization_id: organization_id.clone(),
                    slug: slug.into(),
                    title_zh: title_zh.into(),
                    title_en: title_en.into(),
                    summary_zh: summary.into(),
                    summary_en: String::new(),
                    specialty: specialty.into(),
                    scenario: scenario.into(),
                    input: "image".into(),
                    safety: false,
                    state: ListingState::Listed,
                    release_id: None,
                    cover_digest: None,
                    deployments,
                    listed_at: Some(at),
                    created_at: at,
                    updated_at: at,
                };
                diesel::insert_into(apps::table).values(&row).execute(conn)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    follow::refresh(app, None).await.unwrap();
}

const BELTS: [Sketch; 4] = [
    ("foreign", "主运皮带异物检测", "Foreign objects on the belt", "找出锚杆和大块", "main-haulage", "belt-foreign-object", 1),
    ("smoke", "皮带巷烟火识别", "Smoke in the belt roadway", "识别烟雾和明火", "safety-supervision", "smoke-fire", 5),
    ("walk", "行车不行人监测", "Walking while vehicles run", "识别行人与机车", "aux-haulage", "walk-drive-conflict", 7),
    ("gangue", "煤矸识别", "Coal from gangue", "由分选皮带上的图像区分煤和矸石", "coal-washing", "gangue-sorting", 9),
];

async fn find(app: &App, query: CatalogQuery) -> SearchResult {
    let (handle, query) = (app.clone(), query.bounded());
    let asked = query.clone();
    let found = app.db.read(move |conn| search::search(conn, &handle, &asked)).await.unwrap();
    // Strangers are shown the same, the first time and from memory.
    let known = KnownCatalogue::default();
    for _ in 0..2 {
        let shown = known.search(app, &query).await.unwrap().found;
        let all = |found: &SearchResult| (found.total, found.more, found.near, found.facets.clone());
        assert!(query.q.is_empty() || (slugs(&shown), all(&shown)) == (slugs(&found), all(&found)), "{query:?}: {shown:?}");
    }
    found
}

fn slugs(found: &SearchResult) -> Vec<&str> {
    found.cards.iter().map(|card| card.app.slug.as_str()).collect()
}

fn asked(q: &str) -> CatalogQuery {
    CatalogQuery { q: q.into(), ..CatalogQuery::default() }
}

#[tokio::test]
async fn a_search_begins_with_what_fits_best_unless_told_otherwise() {
    each_backend(|app| async move {
        let vendor = testing::vendor(&app, "acme").await;
        list(&app, &vendor, BELTS.to_vec()).await;
        for (q, sort, expected) in [
            ("皮带", "", vec!["foreign", "smoke", "gangue"]),
            ("皮带", "fit", vec!["foreign", "smoke", "gangue"]),
            ("皮带", "nonsense", vec!["foreign", "smoke", "gangue"]),
            ("皮带", "new", vec!["gangue", "smoke", "foreign"]),
            ("皮带", "deployed", vec!["gangue", "smoke", "foreign"]),
            ("人员", "", vec!["walk"]),
            ("", "", vec!["gangue", "walk", "smoke", "foreign"]),
            ("", "fit", vec!["gangue", "walk", "smoke", "foreign"]),
        ] {
            let found = find(&app, CatalogQuery { sort: sort.into(), ..asked(q) }).await;
            assert_eq!((slugs(&found), found.near), (expected, false), "{q} {sort}");
        }
        let near = find(&app, asked("pidai")).await;
        assert_eq!((slugs(&near)[0], near.near), ("foreign", true));

        // What is listed no more is not found, though the index may not know yet.
        crate::catalog::service::set_hidden(&app, &vendor, "smoke".into(), true).await.unwrap();
        assert_eq!(slugs(&find(&app, asked("皮带")).await), ["foreign", "gangue"]);
    })
    .await;
}

#[tokio::test]
async fn facets_of_a_search_count_what_choosing_would_give() {
    each_backend(|app| async move {
        let vendor = testing::vendor(&app, "acme").await;
        list(&app, &vendor, BELTS.to_vec()).await;
        let now = app.clock.now();
        app.db
            .write(move |conn| {
                let plan = |id: &str, app: &str, kind, active| PricePlan {
                    id: id.into(),
                    app_id: format!("app_{app}"),
                    kind,
                    price_fen: 100,
                    trial_days: 0,
                    trial_nodes: 0,
                    active,
                    created_at: now,
                };
                let all = [
                    plan("pln_1", "foreign", PlanKind::Perpetual, true),
                    plan("pln_2", "foreign", PlanKind::Perpetual, true),
                    plan("pln_3", "smoke", PlanKind::Subscription, true),
                    plan("pln_4", "gangue", PlanKind::Perpetual, false),
                ];
                for plan in all {
                    diesel::insert_into(plans::table).values(&plan).execute(conn)?;
                }
                Ok(())
            })
            .await
            .unwrap();
        let counts = |found: &SearchResult| {
            found.facets.clone().map(|mut counts| {
                counts.sort();
                counts.into_iter().map(|(value, n)| format!("{value} {n}")).collect::<Vec<_>>()
            })
        };
        let found = find(&app, asked("皮带")).await;
        let scenarios = vec!["belt-foreign-object 1", "gangue-sorting 1", "smoke-fire 1"];
        let specialties = vec!["coal-washing 1", "main-haulage 1", "safety-supervision 1"];
        assert_eq!(counts(&found), [specialties.clone(), scenarios.clone(), vec!["image 3"], vec!["perpetual 1", "subscription 1"]]);
        assert_eq!(found.total, 3);
        let chosen = CatalogQuery { scenario: "smoke-fire".into(), plan: "subscription".into(), ..asked("皮带") };
        let found = find(&app, chosen).await;
        assert_eq!((slugs(&found), found.total), (vec!["smoke"], 1));
        assert_eq!(counts(&found), [vec!["safety-supervision 1"], vec!["smoke-fire 1"], vec!["image 1"], vec!["subscription 1"]]);
        let none = find(&app, CatalogQuery { plan: "nonsense".into(), ..asked("皮带") }).await;
        assert_eq!((none.total, counts(&none)[3].len()), (0, 2));
        // Words or none, the same facets.
        let (all, browsed) = (find(&app, asked("皮带 煤矸 行人 acme")).await, find(&app, CatalogQuery::default()).await);
        assert_eq!(counts(&all)[0].len(), counts(&browsed)[0].len());
    })
    .await;
}

#[tokio::test]
async fn pages_of_a_search_follow_one_another() {
    each_backend(|app| async move {
        let vendor = testing::vendor(&app, "acme").await;
        let more: Vec<Sketch> = (0..PAGE + 6)
            .map(|n| {
                let slug: &'static str = Box::leak(format!("idler-{n:02}").into_boxed_str());
                (slug, "托辊异常", "Idlers", "", "main-haulage", "idler-fault", i64::try_from(n % 3).unwrap())
            })
            .collect();
        list(&app, &vendor, more).await;
        for sort in ["", "new", "deployed"] {
            let mut seen = Vec::new();
            let mut query = CatalogQuery { sort: sort.into(), ..asked("idler") };
            loop {
                let found = find(&app, query.clone()).await;
                assert_eq!(found.total, 30);
                seen.extend(slugs(&found).into_iter().map(ToOwned::to_owned));
                if !found.more {
                    break;
                }
                query.after.clone_from(&found.cards.last().unwrap().app.id);
            }
            assert_eq!(seen.len(), 30, "{sort}");
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 30, "{sort}: none twice");
        }
    })
    .await;
}

async fn get(app: &App, who: &Actor, path: &str) -> String {
    let (status, html) = page(app, who, Method::GET, path, "").await;
    assert_eq!(status, 200, "{path}: {html}");
    html
}

#[tokio::test]
async fn a_scenario_without_an_app_is_named_and_can_be_followed() {
    each_backend(|app| async move {
        let (vendor, reader) = (testing::vendor(&app, "acme").await, testing::operator(&app, "mine").await);
        list(&app, &vendor, BELTS.to_vec()).await;
        let stranger = get(&app, &Actor::Anonymous, "/apps?q=%E7%93%A6%E6%96%AF").await;
        assert!(stranger.contains("No app yet") && stranger.contains("Gas forecast") && stranger.contains("/apps?scenario=gas-forecast"));
        assert!(stranger.contains("href=\"/sign-in?next=%2Fapps%3Fq%3D%25E7%2593%25A6%25E6%2596%25AF\""), "{stranger}");
        assert!(!stranger.contains("/scenarios/"), "no form for who is not signed in");
        // Near it, what safety supervision has.
        assert!(stranger.contains("/apps?scenario=smoke-fire"), "{stranger}");
        assert!(stranger.contains("Best fit first") && !get(&app, &Actor::Anonymous, "/apps").await.contains("Best fit first"));

        let form = "action=\"/scenarios/gas-forecast/follow\"";
        assert!(get(&app, &reader, "/apps?q=methane").await.contains(form));
        let (status, _) = page(&app, &reader, Method::POST, "/scenarios/gas-forecast/follow", "next=%2Fapps%3Fq%3Dgas").await;
        assert_eq!(status, 303);
        let html = get(&app, &reader, "/apps?scenario=gas-forecast").await;
        assert!(html.contains("action=\"/scenarios/gas-forecast/unfollow\"") && !html.contains(form), "{html}");
        assert!(get(&app, &reader, "/account/messages").await.contains("Gas forecast"));
        let (status, _) = page(&app, &reader, Method::POST, "/scenarios/gas-forecast/unfollow", "").await;
        assert_eq!(status, 303);
        assert!(get(&app, &reader, "/apps?q=gas").await.contains(form));
        assert!(!get(&app, &reader, "/account/messages").await.contains("Gas forecast"));
        // Where much is found, and on a second page, nothing else is offered.
        for path in ["/apps", "/apps?q=acme", "/apps?q=gas&after=app_walk"] {
            assert!(!get(&app, &reader, path).await.contains("/scenarios/"), "{path}");
        }
        // What was typed with an error is said to be near, and scenarios that it only resembles are left out beside what it finds.
        let near = get(&app, &reader, "/apps?q=pidai").await;
        assert!(near.contains("Nothing has all of these words") && !near.contains("No app yet"), "{near}");
        let (status, _) = page(&app, &Actor::Anonymous, Method::POST, "/scenarios/gas-forecast/follow", "").await;
        assert_eq!(status, 401);
    })
    .await;
}

async fn told(app: &App, who: &Actor) -> Vec<Message> {
    let all = crate::notice::service::inbox(app, who, None).await.unwrap();
    all.into_iter().filter(|message| message.kind == NoticeKind::ScenarioServed).collect()
}

#[tokio::test]
async fn who_follows_a_scenario_is_told_once_of_its_first_app() {
    each_backend(|app| async move {
        let vendor = testing::vendor(&app, "acme").await;
        let (one, two) = (testing::operator(&app, "mine").await, testing::operator(&app, "pit").await);
        let gone = testing::operator(&app, "gone").await;
        let scenario = || "belt-foreign-object".to_owned();
        for (who, lang) in [(&one, Lang::En), (&two, Lang::Zh), (&gone, Lang::En)] {
            follows::follow(&app, who, scenario(), lang).await.unwrap();
            follows::follow(&app, who, scenario(), lang).await.unwrap();
        }
        let disabled = gone.person().unwrap().user_id.clone();
        let now = app.clock.now();
        app.db
            .write(move |conn| Ok(diesel::update(users::table.find(disabled)).set(users::disabled_at.eq(now)).execute(conn)?))
            .await
            .unwrap();
        assert_eq!(follows::list(&app, &one).await.unwrap().len(), 1);
        drain_jobs(&app).await;
        assert!(told(&app, &one).await.is_empty());

        listing(&app, &vendor, "belt", false).await;
        drain_jobs(&app).await;
        let message = told(&app, &one).await.remove(0);
        assert_eq!((message.subject.as_str(), message.language.as_str()), ("First app for Belt foreign object", "en"));
        assert!(message.body.contains("acme/belt") && message.body.contains("/apps/acme/belt"), "{}", message.body);
        assert!(told(&app, &two).await[0].subject.contains("皮带异物"));
        assert!(told(&app, &gone).await.is_empty());
        let left: i64 = app.db.read(|conn| Ok(scenario_follows::table.count().get_result(conn)?)).await.unwrap();
        assert_eq!(left, 0);

        listing(&app, &vendor, "other", false).await;
        drain_jobs(&app).await;
        assert_eq!(told(&app, &one).await.len(), 1, "of the first app only");
        let refused = follows::follow(&app, &one, scenario(), Lang::En).await.unwrap_err();
        assert_eq!((refused.kind, refused.code), (Kind::Conflict, "scenario-served"));
        let unknown = follows::follow(&app, &one, "no-such".into(), Lang::En).await.unwrap_err();
        assert_eq!((unknown.kind, unknown.code), (Kind::NotFound, "scenario"));
        let auditor = testing::platform(&app, Role::Auditor).await;
        follows::follow(&app, &auditor, "gas-forecast".into(), Lang::En).await.unwrap();
        assert_eq!(
            follows::follow(&app, &Actor::Anonymous, "gas-forecast".into(), Lang::En).await.unwrap_err().kind,
            Kind::Unauthenticated
        );
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn scenarios_followed_at_once_stay_within_the_limit() {
    each_backend_racing(|app| async move {
        let reader = testing::operator(&app, "mine").await;
        let all = app.db.read(|conn| Ok(crate::catalog::service::scenarios(conn)?)).await.unwrap();
        let slugs: Vec<String> = all.into_iter().map(|scenario| scenario.slug).collect();
        for slug in slugs.iter().take(15) {
            follows::follow(&app, &reader, slug.clone(), Lang::En).await.unwrap();
        }
        let outcomes = race(|n| {
            let (app, reader, slug) = (app.clone(), reader.clone(), slugs[15 + n].clone());
            async move { follows::follow(&app, &reader, slug, Lang::En).await.map_err(|e| e.code) }
        })
        .await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
        assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|code| *code == "too-many-followed"), "{outcomes:?}");
        assert_eq!(follows::list(&app, &reader).await.unwrap().len(), usize::try_from(MAX_FOLLOWED).unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_narrows_and_sorts_a_search_sees_all_that_the_words_find() {
    each_backend(|app| async move {
        let vendor = testing::vendor(&app, "acme").await;
        let many = (0..600).map(|n: usize| {
            let slug: &'static str = Box::leak(format!("idler-{n:03}").into_boxed_str());
            let specialty = if n < 590 { ("main-haulage", "idler-fault") } else { ("safety-supervision", "smoke-fire") };
            (slug, "托辊异常", "Idlers", "", specialty.0, specialty.1, 600 - i64::try_from(n).unwrap())
        });
        list(&app, &vendor, many.collect()).await;
        let found = find(&app, CatalogQuery { sort: "new".into(), ..asked("idler") }).await;
        assert_eq!((found.total, found.cut, slugs(&found)[0]), (600, false, "idler-599"));
        let count = |value: &str| found.facets[0].iter().find(|(own, _)| own == value).map(|(_, n)| *n);
        assert_eq!((count("main-haulage"), count("safety-supervision")), (Some(590), Some(10)));
        let narrowed = find(&app, CatalogQuery { specialty: "safety-supervision".into(), ..asked("idler") }).await;
        assert_eq!(narrowed.total, 10);
    })
    .await;
}

#[tokio::test]
async fn before_the_index_is_built_a_search_is_to_be_tried_again() {
    each_backend(|app| async move {
        shop(&app).await;
        for (who, path) in [(Actor::Anonymous, "/apps?q=belt"), (testing::operator(&app, "pit").await, "/apps?q=belt")] {
            assert_eq!(page(&app, &who, Method::GET, path, "").await.0, 503);
        }
        assert_eq!(page(&app, &Actor::Anonymous, Method::GET, "/apps", "").await.0, 200);
        follow::refresh(&app, None).await.unwrap();
        assert!(get(&app, &Actor::Anonymous, "/apps?q=belt").await.contains("/apps/acme/belt"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_that_a_stranger_asks_for_is_the_listing_that_is_kept() {
    let few = |settings: &mut crate::base::config::Settings| settings.database.connections = 1;
    each_backend_with(few, |app| async move {
        shop(&app).await;
        let queries = count_queries(&app).await;
        let service = init_service(actix_web::App::new().app_data(Data::new(app.clone())).configure(super::configure)).await;
        let asked = async |path: &str| {
            let before = queries.load(Ordering::Relaxed);
            let request = TestRequest::get().uri(path).insert_header((header::ACCEPT_LANGUAGE, "en")).to_request();
            assert_eq!(call_service(&service, request).await.status(), 200, "{path}");
            queries.load(Ordering::Relaxed) - before
        };
        assert!(asked("/apps/acme/belt").await > 0);
        for n in 0..3 {
            assert_eq!(asked(&format!("/apps/acme/belt?preview={n}")).await, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn all_apps_of_a_vendor_are_reached_page_by_page() {
    each_backend(|app| async move {
        let vendor = testing::vendor(&app, "acme").await;
        let sketch = |n: usize| -> Sketch {
            let slug: &'static str = Box::leak(format!("idler-{n:02}").into_boxed_str());
            (slug, "托辊异常", "Idlers", "", "main-haulage", "idler-fault", 0)
        };
        list(&app, &vendor, (0..2 * PAGE + 3).map(sketch).collect()).await;
        let (mut path, mut seen) = (Some("/vendors/acme".to_owned()), Vec::new());
        while let Some(at) = path {
            let html = get(&app, &Actor::Anonymous, &at).await;
            let links = html.split("href=\"/apps/acme/").skip(1).filter_map(|rest| rest.split('"').next()).map(ToOwned::to_owned);
            seen.extend(links);
            let next = html.split_once("\" rel=\"next\"").and_then(|(head, _)| head.rsplit("href=\"").next());
            path = next.map(ToOwned::to_owned);
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 2 * PAGE + 3);
    })
    .await;
}

/// Further versions of the app `belt` in a state, as copies of its first one.
async fn versions(app: &App, shop: &Shop, of: std::ops::Range<i64>, state: ReleaseState) {
    let id = shop.listing.release_id.clone();
    app.db
        .write(move |conn| {
            let first: Release = releases::table.find(&id).select(Release::as_select()).first(conn)?;
            for n in of {
                let at = first.created_at.plus(TimeDelta::minutes(n + 1));
                let copy = Release {
                    id: crate::base::ids::new("rel"),
                    version: format!("1.0.{}", n + 1),
                    digest: format!("{}{n:04}", first.digest.get(..67).unwrap()),
                    state,
                    published_at: first.published_at.map(|_| at),
                    updated_at: at,
                    ..first.clone()
                };
                diesel::insert_into(releases::table).values(&copy).execute(conn)?;
            }
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn lists_that_are_cut_say_how_much_there_is() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        versions(&app, &shop, 0..49, ReleaseState::Published).await;
        let shown = async |path: &str| get(&app, &shop.vendor, path).await;
        assert!(!shown("/apps/acme/belt").await.contains("The newest 50 of"));
        versions(&app, &shop, 49..52, ReleaseState::Published).await;
        assert!(shown("/apps/acme/belt").await.contains("The newest 50 of 53 are shown."));

        assert!(!shown("/vendor").await.contains("under way."));
        versions(&app, &shop, 60..112, ReleaseState::Ready).await;
        let (whole, live) = (shown("/vendor").await, shown("/vendor/waiting").await);
        assert!(whole.contains("2 more are under way.") && live.contains("2 more are under way."), "{whole}");
        // Of each app the version that was uploaded last, and the way to upload another with this site's own address.
        assert!(shown("/vendor/apps").await.contains("/vendor/apps/belt/releases/1.0.112"));
        let html = shown("/vendor/apps/belt").await;
        assert!(html.contains("--ort-lib") && html.contains(&format!("--server {}", app.settings.server.public_url)), "{html}");
    })
    .await;
}

/// A run card with all that is measured.
fn card(median: f64, steady: bool) -> RunCard {
    let measured = Measured { runs: 240, rounds: 5, cpu_ms: 7.5, spread: 0.012, spread_p95: 0.034, alone: true, steady, per_frame: false };
    RunCard {
        engine: "onnxruntime".into(),
        engine_version: "1.32.0".into(),
        hardware: Hardware { cpu: "A processor".into(), cores: 2, architecture: "amd64".into() },
        accuracy: Some(0.75),
        golden_total: 2,
        latency_ms: Latency { median, p95: 2.0 * median, p99: 3.0 * median, measured: Some(measured) },
        load_ms: 1.0,
        peak_memory_bytes: 1 << 20,
        model_bytes: 1 << 10,
        throughput: None,
        structure: None,
        odd_inputs: Vec::new(),
        own_steps: Vec::new(),
        providers: vec![on_openvino(), Column::not_here(Provider::Cuda)],
        input: "1x8".into(),
    }
}

/// A column of the card: OpenVINO, of another version, faster.
fn on_openvino() -> Column {
    let about =
        ProviderInfo { name: Provider::OpenVino, version: "1.8.1".into(), device: "cpu".into(), precision: "FP32".into(), in_part: true };
    let latency_ms = Latency { median: 5.25, p95: 6.5, ..Latency::default() };
    let figures = Figures { latency_ms, throughput: None, load_ms: 89.0, peak_memory_bytes: 3 << 20 };
    Column { about: Some(about), reason: None, reproduced: 2, total: 2, figures: Some(figures), ..Column::not_here(Provider::OpenVino) }
}

#[tokio::test]
async fn a_run_card_shows_how_it_was_measured_and_what_else_was() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let (id, digest, now) = (shop.listing.release_id.clone(), shop.listing.digest.clone(), app.clock.now());
        let sample = |name: &str, latency_ms| SampleReport { name: name.into(), ok: true, latency_ms, runs: 120, ..SampleReport::default() };
        let golden = GoldenReport { samples: vec![sample("one", 11.0), sample("two", 13.0)], reproduced: 2, total: 2, accuracy: Some(0.75), ..GoldenReport::default() };
        let report = CheckReport { passed: true, run_card: Some(card(12.0, false)), golden: Some(golden), ..CheckReport::default() };
        app.db
            .write(move |conn| {
                diesel::insert_into(check_reports::table)
                    .values((
                        check_reports::id.eq("chk_1"),
                        check_reports::release_id.eq(&id),
                        check_reports::digest.eq(&digest),
                        check_reports::passed.eq(true),
                        check_reports::report.eq(Json::new(report)),
                        check_reports::created_at.eq(now),
                    ))
                    .execute(conn)?;
                diesel::insert_into(measurements::table)
                    .values((
                        measurements::id.eq("msr_1"),
                        measurements::release_id.eq(&id),
                        measurements::card.eq(Json::new(card(34.0, true))),
                        measurements::measured_at.eq(now),
                    ))
                    .execute(conn)?;
                Ok(())
            })
            .await
            .unwrap();
        for (who, path) in [(&Actor::Anonymous, "/apps/acme/belt"), (&shop.vendor, "/vendor/apps/belt/releases/1.0.0")] {
            let html = get(&app, who, path).await;
            let card = html.split("id=\"run-card\"").nth(1).and_then(|rest| rest.split("</section>").next()).unwrap();
            for shown in [
                "75.0 %",
                "12 ms",
                "24 ms",
                "36 ms",
                "<span class=\"badge tone-amber\">uncertain</span>",
                "Processor time",
                "7.50 ms",
                "240 runs after a warm-up, in three rounds in a row of 5; these differ by 1.2 % in the median and 3.4 % in the 95th percentile",
                "A processor, 2 cores · amd64",
                "Median time of each golden sample; the lines are the median and the 95th percentile of the same 240 runs.",
                "Other measurements (1)",
                "<th scope=\"col\">OpenVINO</th>",
                "<td>1.8.1</td>",
                "<td>FP32 · a part of the model on the CPU</td>",
                "<td>5.25 ms</td>",
                "<td>89 ms</td>",
                "<td>as the model</td>",
                "<th scope=\"col\">CUDA</th>",
                "<td>Not tried: the platform has no library of this provider.</td>",
                "34 ms",
            ] {
                assert!(card.contains(shown), "{path}: {shown}: {card}");
            }
            assert_eq!(card.matches(">uncertain<").count(), 1, "the other one is steady");
        }
        let html = get(&app, &Actor::Anonymous, "/compare?app=acme/belt").await;
        let row = |title: &str| {
            let rest = html.split(&format!("<th scope=\"row\">{title}</th>")).nth(1).unwrap_or_else(|| panic!("{title}: {html}"));
            rest.split("</tr>").next().unwrap()
        };
        assert!(row("OpenVINO · Median latency").contains("5.25 ms") && row("OpenVINO · Version").contains("1.8.1"));
        assert!(row("OpenVINO · Precision").contains("FP32 · a part of the model on the CPU"));
        assert!(row("CUDA · Verdict").contains("Not tried"));
        assert!(!html.contains("CUDA · Median latency") && !html.contains("CANN · "), "nobody has figures of them");
    })
    .await;
}
