//! Support of unit tests: each test body runs on SQLite and, where `TEST_POSTGRES_URL` is set (`make test` sets it), on PostgreSQL in a
//! schema of its own. People and organisations are made through the account service, as users make them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use actix_web::body::to_bytes;
use actix_web::cookie::Cookie;
use actix_web::http::{Method, header};
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpResponse};

use diesel::connection::{InstrumentationEvent, SimpleConnection as _};
use diesel::{Connection as _, RunQueryDsl as _};

use crate::account::service::{self as account, SignUp};
use crate::base::app::App;
use crate::base::auth::{Actor, OrgKind, Role};
use crate::base::clock::Clock;
use crate::base::config::Settings;
use crate::base::db::{Conn, Db, Location, Timestamp};
use crate::base::error::Result;
use crate::fleet::service as fleet;
use crate::registry;
use crate::registry::model::Repository;

pub mod measure;
mod races;
pub mod shop;
pub mod smtp;

/// A vendor's repository, made where absent.
pub async fn repository(app: &App, vendor: &Actor, name: &str) -> Repository {
    let (organization_id, name, now) = (vendor.organization_id().unwrap().to_owned(), name.to_owned(), app.clock.now());
    app.db.write(move |conn| registry::service::ensure_repository(conn, &organization_id, &name, now)).await.unwrap()
}

/// A node's detail in a read of its own.
pub async fn node_detail(app: &App, actor: &Actor, id: &str) -> Result<fleet::node::NodeDetail> {
    let (actor, id) = (actor.clone(), id.to_owned());
    app.db.read(move |conn| fleet::node::detail_in(conn, &actor, &id)).await
}

/// A deployment's detail in a read of its own.
pub async fn deployment_detail(app: &App, actor: &Actor, id: &str) -> Result<fleet::deployment::DeploymentDetail> {
    let (actor, id) = (actor.clone(), id.to_owned());
    app.db.read(move |conn| fleet::deployment::detail_in(conn, &actor, &id)).await
}

/// Status and body of a page as an actor sees it in English.
pub async fn page(app: &App, who: &Actor, method: Method, path: &str, form: &str) -> (u16, String) {
    let response = answer(app, who, method, path, form, None).await;
    let status = response.status().as_u16();
    (status, String::from_utf8(to_bytes(response.into_body()).await.unwrap_or_default().to_vec()).unwrap())
}

/// The answer of a page to an actor, who sends a cookie or none.
pub async fn answer(app: &App, who: &Actor, method: Method, path: &str, form: &str, cookie: Option<Cookie<'_>>) -> HttpResponse {
    let pulls = Data::new(crate::wire::oci::cache::Cache::default());
    let site = actix_web::App::new().app_data(Data::new(app.clone())).app_data(pulls).configure(crate::server::routes::routes);
    let service = init_service(site).await;
    let request = cookie.into_iter().fold(TestRequest::default(), TestRequest::cookie);
    let request = request
        .method(method)
        .uri(path)
        .insert_header((header::ACCEPT_LANGUAGE, "en"))
        .insert_header((header::CONTENT_TYPE, "application/x-www-form-urlencoded"))
        .set_payload(form.to_owned())
        .to_request();
    request.extensions_mut().insert(who.clone());
    match try_call_service(&service, request).await {
        Ok(response) => response.into_parts().1.map_into_boxed_body(),
        Err(e) => e.error_response(),
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn settings(folder: &std::path::Path) -> Settings {
    let mut settings = Settings::default();
    settings.data_dir.0 = folder.to_owned();
    settings.server.listen = "127.0.0.1:0".into();
    settings.server.edge_listen = "127.0.0.1:0".into();
    settings
}

/// Runs the body on each backend. The clock stands at 2026-01-01 until the body moves it.
pub async fn each_backend<F, Fut>(body: F)
where
    F: Fn(App) -> Fut,
    Fut: Future<Output = ()>,
{
    each_backend_with(|_| (), body).await;
}

/// The same, with other settings than the defaults.
pub async fn each_backend_with<F, Fut>(change: impl Fn(&mut Settings), body: F)
where
    F: Fn(App) -> Fut,
    Fut: Future<Output = ()>,
{
    let clock = || Clock::manual(Timestamp::from_unix(1_767_225_600));
    let folder = Folder(std::env::temp_dir().join(crate::base::ids::new("pithead-test")));
    let mut lite = settings(&folder.0);
    lite.database.url = format!("sqlite:{}", folder.0.join("test.db").display());
    change(&mut lite);
    // Bodies are long: without the box each test's own future would be as large as its body's.
    Box::pin(body(App::open(lite, clock()).unwrap())).await;

    #[expect(clippy::disallowed_methods, reason = "the test command passes its database here")]
    let Ok(url) = std::env::var("TEST_POSTGRES_URL") else { return };
    let folder = Folder(std::env::temp_dir().join(crate::base::ids::new("pithead-test")));
    let schema = crate::base::ids::new("t");
    let admin = Db::open(&Location::parse(&url).unwrap(), 2).unwrap();
    admin.blocking().unwrap().batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
    let mut postgres = settings(&folder.0);
    let separator = if url.contains('?') { '&' } else { '?' };
    postgres.database.url = format!("{url}{separator}options=-c%20search_path%3D{schema}");
    change(&mut postgres);
    Box::pin(body(App::open(postgres, clock()).unwrap())).await;
    admin.blocking().unwrap().batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).unwrap();
}

/// As [`each_backend`] on SQLite, with all that is stored in a folder.
pub async fn in_folder<F, Fut>(folder: &Path, change: impl FnOnce(&mut Settings), body: F)
where
    F: FnOnce(App) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut settings = settings(folder);
    settings.database.url = format!("sqlite:{}", folder.join("test.db").display());
    change(&mut settings);
    body(App::open(settings, Clock::manual(Timestamp::from_unix(1_767_225_600))).unwrap()).await;
}

/// Writers of a race.
pub const WRITERS: usize = 16;

/// Runs the body on each backend with a connection for each writer of a race.
pub async fn each_backend_racing<F, Fut>(body: F)
where
    F: Fn(App) -> Fut,
    Fut: Future<Output = ()>,
{
    each_backend_with(|settings| settings.database.connections = u32::try_from(WRITERS).unwrap() + 2, body).await;
}

/// Does something [`WRITERS`] times at once, each with its number; gives what came of each.
pub async fn race<T, Fut>(writer: impl Fn(usize) -> Fut) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(WRITERS));
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let (start, work) = (start.clone(), writer(n));
            tokio::spawn(async move {
                start.wait().await;
                work.await
            })
        })
        .collect();
    futures_util::future::join_all(writers).await.into_iter().map(std::result::Result::unwrap).collect()
}

/// Counts the queries of all connections that read; of PostgreSQL there are two at least.
pub async fn count_queries(app: &App) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let connections = if app.settings.database.url.starts_with("sqlite:") { 1 } else { 2 };
    let all = Arc::new(Barrier::new(connections));
    let watched = (0..connections).map(|_| {
        let (count, all) = (count.clone(), all.clone());
        app.db.read(move |conn| {
            conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
                if matches!(event, InstrumentationEvent::StartQuery { query, .. } if query.to_string().contains(" FROM ")) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            // Each takes a connection of its own.
            all.wait();
            Ok(())
        })
    });
    futures_util::future::try_join_all(watched).await.unwrap();
    count
}

/// Asserts that every chain and seal is intact, and every answer beside its alarm.
pub async fn assert_intact(app: &App) {
    let verdict = crate::audit::service::verify(app).await.unwrap();
    assert!(matches!(verdict, crate::audit::model::ChainVerdict::Intact { .. }), "{verdict:?}");
    // What was answered stands beside the alarm as well: whichever way somebody answered, it calls no more.
    let odd = "SELECT a.id AS name FROM alarms a LEFT JOIN alarm_responses r ON r.alarm_id = a.id \
               WHERE a.answer <> COALESCE(r.verdict, CASE WHEN r.alarm_id IS NULL THEN 'none' ELSE 'acknowledged' END)";
    let odd = app.db.read(move |conn| {
        let found: Vec<Named> = match conn {
            Conn::Postgres(pg) => diesel::sql_query(odd).load(pg)?,
            Conn::Sqlite(lite) => diesel::sql_query(odd).load(lite)?,
        };
        Ok(found.into_iter().map(|alarm| alarm.name).collect::<Vec<_>>())
    });
    assert_eq!(odd.await.unwrap(), Vec::<String>::new());
}

#[derive(diesel::QueryableByName)]
struct Named {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
}

/// Takes away what makes the database refuse changes of the audit log, as a thief of it would.
pub async fn unguarded(app: &App) {
    app.db
        .write(|conn| {
            match conn {
                Conn::Postgres(pg) => {
                    for table in ["audit_records", "audit_heads", "audit_seals", "audit_seal_leaves"] {
                        pg.batch_execute(&format!("ALTER TABLE {table} DISABLE TRIGGER USER"))?;
                    }
                }
                Conn::Sqlite(lite) => {
                    let found = diesel::sql_query("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'audit_%'");
                    for Named { name } in found.load::<Named>(lite)? {
                        lite.batch_execute(&format!("DROP TRIGGER {name}"))?;
                    }
                }
            }
            Ok(())
        })
        .await
        .unwrap();
}

/// The password of everyone in tests.
pub const PASSWORD: &str = "a lamp in the dark";

async fn organization(app: &App, kind: OrgKind, slug: &str) -> Actor {
    let input = SignUp {
        email: format!("owner@{slug}.example"),
        name: format!("Owner of {slug}"),
        password: PASSWORD.into(),
        kind: kind.as_str().into(),
        slug: slug.into(),
        name_zh: format!("{slug} 公司"),
        name_en: format!("{slug} Ltd"),
    };
    let (user_id, organization_id) = match kind {
        OrgKind::Platform => account::create_platform(app, input, Role::Administrator).await.unwrap(),
        _ => account::sign_up(app, input).await.unwrap(),
    };
    account::actor_for(app, &user_id, &organization_id).await.unwrap()
}

/// The owner of a new vendor.
pub async fn vendor(app: &App, slug: &str) -> Actor {
    organization(app, OrgKind::Vendor, slug).await
}

/// The owner of a new operator.
pub async fn operator(app: &App, slug: &str) -> Actor {
    organization(app, OrgKind::Operator, slug).await
}

/// The person of the platform with a role, the same one each time. The platform organisation is made with the first.
pub async fn platform(app: &App, role: Role) -> Actor {
    let (slug, email) = ("platform", format!("{role}@platform.example"));
    let wanted = email.clone();
    let (organization, user) = app
        .db
        .read(move |conn| Ok((account::find_organization_by_slug(conn, slug)?, account::find_user_by_email(conn, &wanted)?)))
        .await
        .unwrap();
    let organization_id = match organization {
        Some(organization) => organization.id,
        None => self::organization(app, OrgKind::Platform, slug).await.person().unwrap().organization_id.clone(),
    };
    match user {
        Some(user) => account::actor_for(app, &user.id, &organization_id).await.unwrap(),
        None => member(app, &organization_id, role, &email).await,
    }
}

/// A further person of an organisation.
pub async fn member(app: &App, organization_id: &str, role: Role, email: &str) -> Actor {
    let user_id = account::add_member(app, organization_id, role, email, email, PASSWORD).await.unwrap();
    account::actor_for(app, &user_id, organization_id).await.unwrap()
}

/// A request for a certificate, with a fresh key.
pub fn csr() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
}

/// An enrolled node of an operator, on a site of its own.
pub async fn node(app: &App, operator: &Actor) -> Actor {
    let site = fleet::create_site(app, operator, "一号井").await.unwrap();
    let issued = fleet::create_node(app, operator, &site, "主运 1").await.unwrap();
    let enrolled = fleet::enroll(app, issued.code, csr(), "1.0.0".into()).await.unwrap();
    Actor::Node { node_id: enrolled.node_id, organization_id: enrolled.organization_id }
}

/// The files of a demo app by path.
pub fn demo_app(name: &str) -> BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, prefix: &str, out: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{path}/"), out);
            } else {
                out.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps").join(name), "", &mut out);
    out
}

/// Runs jobs until none is due.
pub async fn drain_jobs(app: &App) {
    use crate::base::jobs::{Lane, run_one};
    use crate::server::work::WORKER;
    while run_one(app, Lane::Checks, WORKER).await.unwrap()
        || run_one(app, Lane::Drafts, WORKER).await.unwrap()
        || run_one(app, Lane::Prompt, WORKER).await.unwrap()
        || run_one(app, Lane::Mail, WORKER).await.unwrap()
        || run_one(app, Lane::Upkeep, WORKER).await.unwrap()
    {}
}

/// An S3 server that checks signatures, for as long as the value lives, with a bucket `pithead`.
pub struct S3Server {
    /// Settings that reach it.
    pub settings: crate::base::config::Storage,
    task: tokio::task::JoinHandle<()>,
    _folder: Folder,
}

impl S3Server {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let folder = Folder(std::env::temp_dir().join(crate::base::ids::new("pithead-s3")));
        std::fs::create_dir_all(folder.0.join("pithead")).unwrap();
        let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(&folder.0).unwrap());
        builder.set_auth(s3s::auth::SimpleAuth::from_single("test-access", "test-secret"));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = crate::base::config::Storage { kind: "s3".into(), ..crate::base::config::Storage::default() };
        settings.s3.endpoint = format!("http://{}", listener.local_addr().unwrap());
        settings.s3.access_key = "test-access".into();
        settings.s3.secret_key = "test-secret".into();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                    // A client that goes away is no failure of the test.
                    let _ = server.serve_connection(hyper_util::rt::TokioIo::new(socket), service).await;
                });
            }
        });
        Self { settings, task, _folder: folder }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// As [`each_backend`] on SQLite, with blobs in an S3 server.
pub async fn on_s3<F, Fut>(change: impl FnOnce(&mut Settings), body: F)
where
    F: FnOnce(App) -> Fut,
    Fut: Future<Output = ()>,
{
    let server = S3Server::start().await;
    let folder = Folder(std::env::temp_dir().join(crate::base::ids::new("pithead-test")));
    let mut settings = settings(&folder.0);
    settings.database.url = format!("sqlite:{}", folder.0.join("test.db").display());
    settings.storage = server.settings.clone();
    change(&mut settings);
    body(App::open(settings, Clock::manual(Timestamp::from_unix(1_767_225_600))).unwrap()).await;
}
