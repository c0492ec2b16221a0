//! `pithead demo`: the whole chain on one machine, with the demo apps of `demo/apps`, one mine with three edge nodes, and people of every role.
//!
//! Everything is made through the services that users use, so the demo holds only data that a user could have made. A second start finds
//! the data and makes nothing anew. [`load`] publishes and sells; [`further`] lists more apps when all of that runs; [`sets`] makes hidden
//! test sets; [`nodes`] runs the edge agents as processes of their own, and [`cameras`] gives them something to look at.

mod cameras;
mod further;
mod load;
mod nodes;
mod publish;
mod scale;
mod sets;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::base::app::App;
use crate::base::clock::Clock;
use crate::base::config::Settings;
use crate::server::{Server, stop_signal};

/// Options of the command.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Folder of everything the demo stores.
    #[arg(long, default_value = "data/demo")]
    pub data: PathBuf,
    /// Port of the site; the node endpoint is 363 above, the nodes' local interfaces 1021 to 1023 above.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// `small`, or `ordos` for 44 developers, 270 listings and 300 mines.
    #[arg(long, default_value = "small", value_parser = ["small", "ordos"])]
    pub scale: String,
    /// Path of libonnxruntime.
    #[arg(long)]
    pub ort_lib: PathBuf,
    /// Path of the node agent; without it no nodes are started.
    #[arg(long)]
    pub edge_bin: Option<PathBuf>,
    /// Path of ffmpeg, with which nodes look at the demo's cameras; it may come later. Without it there are no cameras.
    #[arg(long)]
    pub ffmpeg: Option<PathBuf>,
    /// Folder of the demo apps; the hidden test sets lie in `evaluation` beside it, the cameras' clips in `cameras`.
    #[arg(long, default_value = "demo/apps")]
    pub apps: PathBuf,
    /// Folder of apps that are listed while the demo already runs.
    #[arg(long)]
    pub further: Option<PathBuf>,
}

/// One account of the demo, as written to `sign-ins.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignIn {
    /// `vendor-owner`, `operator-owner`, `operator-deployer`, `moderator`, …
    pub role: String,
    /// Sign-in address.
    pub email: String,
    pub password: String,
    /// Slug of the organisation.
    pub organization: String,
    /// API token with all scopes that make sense for the role.
    pub token: String,
}

impl Options {
    fn ports(&self) -> anyhow::Result<(u16, [u16; 3])> {
        let above = |n: u16| self.port.checked_add(n).context("the port is too high: the demo needs ports up to 1023 above it");
        Ok((above(363)?, [above(1021)?, above(1022)?, above(1023)?]))
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let (edge, _) = self.ports()?;
        let mut settings = Settings::default();
        settings.data_dir.0.clone_from(&self.data);
        settings.database.url = format!("sqlite:{}", self.data.join("pithead.db").display());
        settings.server.listen = format!("127.0.0.1:{}", self.port);
        settings.server.public_url = format!("http://127.0.0.1:{}", self.port);
        settings.server.edge_listen = format!("127.0.0.1:{edge}");
        settings.server.edge_url = format!("https://127.0.0.1:{edge}");
        settings.server.shutdown_seconds = 3;
        settings.checks.ort_lib = std::path::absolute(&self.ort_lib)?.display().to_string();
        Ok(settings)
    }
}

/// Runs until Ctrl-C.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let (_, node_ports) = options.ports()?;
    let nodes = nodes::Fleet::new(&options, node_ports);
    nodes.check_ports()?;
    let app = App::open(options.settings()?, Clock::System)?;
    let server = Server::start(app.clone()).await?;
    let outcome = serve(&app, &options, nodes).await;
    server.stop().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn serve(app: &App, options: &Options, mut nodes: nodes::Fleet) -> anyhow::Result<()> {
    let file = options.data.join("sign-ins.json");
    let fresh = !file.exists();
    let sign_ins: Vec<SignIn> = if fresh {
        println!("loading the demo (once) …");
        let people = load::people(app).await?;
        let loading = async {
            load::market(app, &options.apps, &people).await?;
            if options.scale == "ordos" {
                scale::ordos(app, options, &people).await?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            result = loading => result?,
            signal = stop_signal() => { signal?; anyhow::bail!("stopped while loading; remove {} and start again", options.data.display()) }
        }
        if options.edge_bin.is_some() {
            load::fleet(app, &people, &mut nodes).await?;
        }
        let text = serde_json::to_string_pretty(&people.sign_ins)?;
        let temporary = options.data.join("sign-ins.json.new");
        std::fs::write(&temporary, text)?;
        std::fs::rename(&temporary, &file)?;
        people.sign_ins
    } else {
        if options.edge_bin.is_some() {
            nodes.start_all()?;
        }
        serde_json::from_str(&std::fs::read_to_string(&file)?).with_context(|| format!("{} is damaged", file.display()))?
    };
    announce(app, &sign_ins, &nodes);
    let mut stop = std::pin::pin!(stop_signal());
    tokio::select! {
        () = go_on(app, options, &sign_ins, &nodes) => stop.await?,
        signal = &mut stop => signal?,
    }
    nodes.stop().await;
    Ok(())
}

/// What is done while people already look at the demo.
async fn go_on(app: &App, options: &Options, sign_ins: &[SignIn], nodes: &nodes::Fleet) {
    let further = async {
        if let Some(folder) = &options.further
            && let Err(e) = further::list(app, folder, sign_ins).await
        {
            println!("\nNot all further apps are listed: {e:#}");
        }
    };
    let cameras = async {
        if let Err(e) = cameras::set_up(options, nodes).await {
            println!("\nThe cameras are not set up: {e:#}");
        }
    };
    tokio::join!(further, cameras);
}

fn announce(app: &App, sign_ins: &[SignIn], nodes: &nodes::Fleet) {
    let server = &app.settings.server;
    println!("\nPithead is ready.\n  site            {}\n  node endpoint   {}", server.public_url, server.edge_url);
    for address in nodes.addresses() {
        println!("  edge node       {address}");
    }
    println!("\nSign in as");
    for person in sign_ins {
        println!("  {:<20} {:<34} {}", person.role, person.email, person.password);
    }
    println!("\nAlso in {}. Ctrl-C ends the demo; what you did is kept.", app.settings.data_dir.0.join("sign-ins.json").display());
}
