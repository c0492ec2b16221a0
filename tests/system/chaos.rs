//! Chaos: while clients push, order, pay and deploy, the server is killed, its database held by another process, its disk filled, its
//! connections are cut, and the clocks of server and nodes jump by 400 days. What was acknowledged stays, nothing is there by half, the chains
//! of the audit log verify, and an app of safety class on a node answers throughout.
//!
//! `CHAOS_SECONDS` says for how long; `make chaos` sets it.

mod clients;
mod faults;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use pithead::base::db::schema::{apps, deployments, plans};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::net::TcpListener;

use self::clients::{ASKED, CHANGED, Person, Shared, ask, change, nodes_follow, push, pushed_is_there, trade, traded_is_there};
use self::faults::{Around, Clocks, Disk, Fault, proxy, strike};
use crate::demo::Demo;

/// How long the faults go on where nothing is said.
const SECONDS: u64 = 30;
/// Time after a fault in which each client must get something done again.
const RECOVERY: Duration = Duration::from_mins(1);

/// Waits until each client has got something done since `before`.
async fn recovered(shared: &Shared, what: &str, before: [usize; 3]) {
    let begin = Instant::now();
    loop {
        let now = shared.know(|known| known.counts());
        if now.iter().zip(before).all(|(now, before)| *now > before) {
            return;
        }
        let told = || shared.know(|known| format!("{:?}", known.refusals()));
        assert!(
            begin.elapsed() < RECOVERY,
            "{what}: a minute later the clients have done {now:?}, at its end {before:?}; they were told {}",
            told()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_outlives_faults() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seconds = std::env::var("CHAOS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let seed = rand::random();
    println!("seed {seed}, {seconds} s");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = std::env::temp_dir().join(pithead::base::ids::new("pithead-chaos"));
    std::fs::create_dir_all(&folder).unwrap();
    let around = Around { disk: Disk::mount(&folder), clocks: Clocks::build(), cutting: Arc::default() };
    let mut demo = Demo::start_in(folder, around.clocks.environment());
    let mut faults = vec![Fault::Kill, Fault::Lock, Fault::LockAndKill, Fault::Cut, Fault::Clock];
    if around.disk.is_some() {
        faults.push(Fault::Fill);
    }

    let (plan, deployed) = demo
        .read(|conn| {
            let app = |slug: &str| apps::table.filter(apps::slug.eq(slug.to_owned())).select(apps::id);
            let asked: String = app(ASKED).first(conn)?;
            let changed: String = app(CHANGED).first(conn)?;
            let plan: (String, i64) = plans::table
                .filter(plans::app_id.eq(asked).and(plans::kind.eq("subscription")))
                .select((plans::id, plans::price_fen))
                .first(conn)?;
            let deployed: (String, String, String) = deployments::table
                .filter(deployments::app_id.eq(changed))
                .select((deployments::license_id, deployments::release_id, deployments::node_id))
                .first(conn)?;
            Ok((plan, deployed))
        })
        .await;
    let amount = format!("{}.{:02}", plan.1 / 100, plan.1 % 100);
    let shared = Shared::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = format!("http://{}", listener.local_addr().unwrap());
    let to: SocketAddr = demo.base.trim_start_matches("http://").parse().unwrap();
    let proxy = tokio::spawn(proxy(listener, to, around.cutting.clone()));
    let person = async |role| Person::of(&demo, role, &through).await;
    let (buyer, finance, deployer) = (person("operator-owner").await, person("finance").await, person("operator-deployer").await);
    let (_, _, token) = demo.person("vendor-owner");
    let clients = [
        tokio::spawn(push(shared.clone(), through.clone(), token.clone(), StdRng::seed_from_u64(seed ^ 1))),
        tokio::spawn(trade(shared.clone(), buyer, finance, plan.0, amount)),
        tokio::spawn(change(shared.clone(), deployer, deployed.clone())),
    ];
    let asking = ask(shared.clone(), demo.nodes[1].clone()).await;
    recovered(&shared, "the start", [0; 3]).await;

    let begin = Instant::now();
    let mut struck = 0;
    // Each fault at least once.
    while struck < faults.len() || begin.elapsed() < Duration::from_secs(seconds) {
        if struck % faults.len() == 0 {
            faults.shuffle(&mut rng);
        }
        let fault = faults[struck % faults.len()];
        struck += 1;
        println!("{:?}: {fault:?}", begin.elapsed());
        strike(fault, &mut demo, &around, &mut rng).await;
        let before = shared.know(|known| known.counts());
        recovered(&shared, &format!("{fault:?}"), before).await;
    }
    shared.end();
    for client in clients {
        client.await.unwrap();
    }
    let (answers, wrong) = asking.await.unwrap();
    proxy.abort();
    let renewed = nodes_follow(&demo).await;
    let counts = shared.know(|known| known.counts());
    println!(
        "{struck} faults in {:?}; acknowledged (pushes, trades, changes): {counts:?}; {answers} answers of the app; {renewed} certificates renewed",
        begin.elapsed()
    );
    assert!(wrong.is_empty(), "the app did not answer {} of {} times: {:?}", wrong.len(), answers + wrong.len(), wrong.first());
    // A node that last heard of a clock ahead may renew once before it hears better: each of the demo's three once an hour at most.
    assert!(renewed <= 3, "{renewed} certificates renewed");
    let known = shared.know(std::mem::take);
    pushed_is_there(&demo, &token, &known).await;
    traded_is_there(&demo, &known, &deployed.2).await;
    let verified = Command::new(env!("CARGO_BIN_EXE_pithead"))
        .args(["admin", "audit", "verify"])
        .env("PITHEAD_DATA_DIR", &demo.folder)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
