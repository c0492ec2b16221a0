//! A real server on free ports, with the demo's people, for tests that go through HTTP.

use std::path::PathBuf;

use pithead::account::service::{self as account, SignUp};
use pithead::base::app::App;
use pithead::base::auth::Role;
use pithead::base::clock::Clock;
use pithead::base::config::Settings;
use pithead::server::Server;

/// Password of everyone.
pub const PASSWORD: &str = "a lamp in the dark";

/// The server, its folder, and what the tests need of it.
pub struct TestServer {
    /// The parts.
    pub app: App,
    /// `http://127.0.0.1:PORT`.
    pub base: String,
    server: Option<Server>,
    folder: PathBuf,
}

impl TestServer {
    /// Starts one.
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// The same with other settings.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = std::env::temp_dir().join(pithead::base::ids::new("pithead-it"));
        let mut settings = Settings::default();
        settings.data_dir.0.clone_from(&folder);
        settings.database.url = format!("sqlite:{}", folder.join("test.db").display());
        // Free ports, chosen now, because settings name the address that nodes are told.
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (site, edge) = (free(), free());
        settings.server.listen = format!("127.0.0.1:{site}");
        settings.server.public_url = format!("http://127.0.0.1:{site}");
        settings.server.edge_listen = format!("127.0.0.1:{edge}");
        settings.server.edge_url = format!("https://127.0.0.1:{edge}");
        settings.server.workers = 2;
        settings.server.shutdown_seconds = 1;
        settings.checks.ort_lib = std::env::var("ORT_LIB").unwrap_or_default();
        settings.checks.program = env!("CARGO_BIN_EXE_pithead").into();
        change(&mut settings);
        let app = App::open(settings, Clock::System).unwrap();
        let server = Server::start(app.clone()).await.unwrap();
        Self { base: format!("http://127.0.0.1:{site}"), app, server: Some(server), folder }
    }

    /// Makes an organisation with an owner; gives the owner's address and the organisation's id.
    pub async fn organization(&self, kind: &str, slug: &str) -> (String, String) {
        let input = SignUp {
            email: format!("owner@{slug}.example"),
            name: format!("Owner of {slug}"),
            password: PASSWORD.into(),
            kind: kind.into(),
            slug: slug.into(),
            name_zh: format!("{slug}公司"),
            name_en: format!("{slug} Ltd"),
        };
        let email = input.email.clone();
        let (_, id) = if kind == "platform" {
            account::create_platform(&self.app, input, Role::Administrator).await.unwrap()
        } else {
            account::sign_up(&self.app, input).await.unwrap()
        };
        (email, id)
    }

    /// Adds a person; gives their address.
    pub async fn person(&self, organization_id: &str, role: Role, email: &str) -> String {
        account::add_member(&self.app, organization_id, role, email, email, PASSWORD).await.unwrap();
        email.to_owned()
    }

    /// Stops it and removes its folder.
    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
