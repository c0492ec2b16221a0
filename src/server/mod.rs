//! The composition root: [`Server`] binds the listeners over an [`App`], runs, and stops in order.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::{Data, PayloadConfig};
use actix_web::{App as Actix, HttpServer};
use anyhow::Context as _;
use chrono::TimeDelta;
use tokio::sync::watch;

use crate::base::app::App;
use crate::base::{child, jobs};
use crate::server::middleware::authenticate::authenticate;
use crate::server::middleware::open_requests::{connected, open_requests};
use crate::server::middleware::{
    csrf::csrf, errors::errors, head_as_get::head_as_get, request_id::request_id, security_headers::security_headers, shed::shed,
};
use crate::{account, alarm_management, audit, fleet, registry, site, webhook, wire};

mod files;
pub mod middleware;
pub mod routes;
mod tls;
pub mod upkeep;
pub mod work;

/// Time in which what the grace time has cut off is written down.
const MOMENT: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Address on which the site listens.
    pub address: SocketAddr,
    /// Address on which the node endpoint listens.
    pub edge_address: SocketAddr,
    handles: Vec<ServerHandle>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    stop: watch::Sender<bool>,
    grace: Duration,
    _lock: std::fs::File,
}

impl Server {
    /// Binds both listeners and starts serving and working.
    ///
    /// # Errors
    /// A port in use, named; a data folder that another server uses.
    pub async fn start(app: App) -> anyhow::Result<Self> {
        let lock = lock(&app.settings.data_dir.0)?;
        child::clear(&app.settings);
        let settings = &app.settings.server;
        let workers = if settings.workers == 0 { std::thread::available_parallelism().map_or(2, usize::from) } else { settings.workers };
        // Each of the two listeners has its workers.
        let connections = files::connections(settings.connections, files::raise_limit(), 2 * workers);
        let blocking = settings.blocking_threads.max(4);
        let grace = Duration::from_secs(settings.shutdown_seconds);
        // Both listeners share one cache: a token verified by one is known to the other.
        let pulls = Data::new(wire::oci::cache::Cache::default());
        let site = HttpServer::new({
            let (app, pulls) = (app.clone(), pulls.clone());
            move || {
                Actix::new()
                    .app_data(Data::new(app.clone()))
                    .app_data(pulls.clone())
                    .app_data(PayloadConfig::new(16 * 1024 * 1024))
                    .wrap(from_fn(csrf))
                    .wrap(from_fn(authenticate))
                    .wrap(from_fn(shed))
                    .wrap(from_fn(open_requests))
                    .wrap(from_fn(errors))
                    .wrap(from_fn(security_headers))
                    .wrap(from_fn(head_as_get))
                    .wrap(from_fn(request_id))
                    .configure(routes::routes)
            }
        })
        .workers(workers)
        .max_connections(connections)
        .worker_max_blocking_threads(blocking)
        .disable_signals()
        .shutdown_timeout(settings.shutdown_seconds)
        .on_connect({
            let app = app.clone();
            move |io, extensions| connected(&app, io, extensions)
        })
        .bind(&settings.listen)
        .with_context(|| format!("cannot listen on {} (in use? set PORT or server.listen)", settings.listen))?;
        let edge = HttpServer::new({
            let (app, pulls) = (app.clone(), pulls.clone());
            move || {
                Actix::new()
                    .app_data(Data::new(app.clone()))
                    .app_data(pulls.clone())
                    .wrap(from_fn(authenticate))
                    .wrap(from_fn(shed))
                    .wrap(from_fn(open_requests))
                    .wrap(from_fn(errors))
                    .wrap(from_fn(head_as_get))
                    .wrap(from_fn(request_id))
                    .configure(routes::edge_routes)
            }
        })
        .workers(workers)
        .max_connections(connections)
        .worker_max_blocking_threads(blocking)
        .disable_signals()
        .shutdown_timeout(settings.shutdown_seconds)
        .on_connect({
            let app = app.clone();
            move |io, extensions| connected(&app, io, extensions)
        })
        .bind_rustls_0_23(&settings.edge_listen, tls::config(&app)?)
        .with_context(|| format!("cannot listen on {} (in use? set PORT or server.edge_listen)", settings.edge_listen))?;

        let linked = registry::links::complete(&app).await.map_err(|e| anyhow::anyhow!("{e}"))?;
        if linked > 0 {
            tracing::info!(linked, "manifests of the version before linked to their blobs");
        }
        registry::jobs::plan_collection(&app).await.map_err(|e| anyhow::anyhow!("{e}"))?;
        upkeep::plan(&app, TimeDelta::minutes(1)).await.map_err(|e| anyhow::anyhow!("{e}"))?;
        account::names::fill(&app).await.map_err(|e| anyhow::anyhow!("{e}"))?;
        if settings.behind_proxy && settings.trusted_proxies.is_empty() {
            tracing::warn!("server.behind_proxy believes any peer: name the proxies' networks in server.trusted_proxies instead");
        }
        let address = *site.addrs().first().context("no address")?;
        let edge_address = *edge.addrs().first().context("no address")?;
        let (site, edge) = (site.run(), edge.run());
        let handles = vec![site.handle(), edge.handle()];
        let tasks = vec![
            tokio::spawn(async move {
                if let Err(e) = site.await {
                    tracing::error!(error = %e, "site listener");
                }
            }),
            tokio::spawn(async move {
                if let Err(e) = edge.await {
                    tracing::error!(error = %e, "node listener");
                }
            }),
            tokio::spawn(jobs::run(app.clone(), jobs::Lane::Checks, work::WORKER, app.stopping())),
            tokio::spawn(jobs::run(app.clone(), jobs::Lane::Drafts, work::WORKER, app.stopping())),
            tokio::spawn(jobs::run(app.clone(), jobs::Lane::Prompt, work::WORKER, app.stopping())),
            tokio::spawn(jobs::run(app.clone(), jobs::Lane::Mail, work::WORKER, app.stopping())),
            tokio::spawn(jobs::run(app.clone(), jobs::Lane::Upkeep, work::WORKER, app.stopping())),
            tokio::spawn(site::market::follow::follow(app.clone(), app.stopping())),
            tokio::spawn(fleet::silence::watch(app.clone(), app.stopping())),
            tokio::spawn(alarm_management::equipment::watch(app.clone(), app.stopping())),
            tokio::spawn(webhook::send::run(app.clone(), app.stopping())),
            tokio::spawn(audit::seal::run(app.clone(), app.stopping())),
            tokio::spawn(upkeep::follow_roots(app.clone())),
        ];
        Ok(Self { address, edge_address, handles, tasks, stop: app.stop.clone(), grace, _lock: lock })
    }

    /// Stops: no new requests, long polls end, open requests and running jobs finish within the grace time. A job that does not is given back.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for handle in &self.handles {
            handle.stop(true).await;
        }
        if tokio::time::timeout(self.grace + MOMENT, futures_util::future::join_all(self.tasks)).await.is_err() {
            tracing::warn!("not every task ended within the grace time");
        }
    }
}

/// Locks the data folder: its keys, uploads and, with SQLite, database belong to one server at a time.
fn lock(data: &std::path::Path) -> anyhow::Result<std::fs::File> {
    let file = std::fs::File::create(data.join("lock")).with_context(|| format!("cannot write into {}", data.display()))?;
    file.try_lock().map_err(|_| anyhow::anyhow!("another server uses the data folder {}", data.display()))?;
    Ok(file)
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("cannot wait for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}
