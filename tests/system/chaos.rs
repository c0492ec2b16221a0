//! Chaos: while clients push, order, pay and deploy, the server is killed, its database held by another process, its disk filled, and
//! connections are cut. What was acknowledged stays, nothing is there by half, the chains of the audit log verify, and an app on a node
//! answers throughout.
//!
//! `CHAOS_SECONDS` says for how long; `make chaos` sets it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::oci::{Descriptor, EMPTY_BYTES, EMPTY_TYPE, ImageManifest, MANIFEST_TYPE, WEIGHT_TYPE};
use diesel::prelude::*;
use pithead::base::db::schema::{apps, deployments, licenses, orders, payments, plans};
use pithead::base::db::{Db, Location};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use reqwest::{Client, Method, Response, StatusCode};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::demo::{Demo, Reader};

/// How long the faults go on where nothing is said.
const SECONDS: u64 = 30;
/// Time after a fault in which each client must get something done again.
const RECOVERY: Duration = Duration::from_mins(1);
/// Size of the disk that is filled.
const DISK: &str = "size=768m,mode=0700";
const REPOSITORY: &str = "heitan-vision/chaos";
/// The app that is asked throughout, on the second node.
const ASKED: &str = "belt-foreign-object";
/// The app whose parameter is changed, on the first node.
const CHANGED: &str = "coke-quality";

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Lock,
    LockAndKill,
    Cut,
    Fill,
}

/// What clients know: only what they were told.
#[derive(Default)]
struct Known {
    blobs: HashMap<Digest, Vec<u8>>,
    tags: HashMap<String, Vec<u8>>,
    /// Tags sent without an answer: whole or absent.
    tags_tried: HashMap<String, Vec<u8>>,
    orders: Vec<String>,
    /// Order and the bank's serial number.
    payments: Vec<(String, String)>,
    /// Changes of the parameter that were acknowledged; the value of the last, and those sent since.
    changes: usize,
    value: Option<f64>,
    open: Vec<f64>,
}

impl Known {
    /// How much each client has got done.
    fn counts(&self) -> [usize; 3] {
        [self.blobs.len() + self.tags.len(), self.orders.len() + self.payments.len(), self.changes]
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Known>>, Arc<AtomicBool>);

impl Shared {
    fn know<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn goes_on(&self) -> bool {
        !self.1.load(Ordering::Relaxed)
    }
}

/// A file system of its own that can be filled; unmounted on drop.
struct Disk(PathBuf);

impl Disk {
    /// None where this user may not mount.
    fn mount(folder: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(folder).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }

    /// Takes all room for a while.
    async fn fill(&self, pause: Duration) {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 20, 4 << 10, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        tokio::time::sleep(pause).await;
        drop(file);
        std::fs::remove_file(path).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Leads clients to the server, and cuts all connections while `cutting`.
async fn proxy(listener: TcpListener, to: SocketAddr, cutting: Arc<AtomicBool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let cutting = cutting.clone();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(to).await else { return };
            let cut = async {
                loop {
                    // Not at once: some cuts are to fall between request and answer.
                    tokio::time::sleep(Duration::from_millis(rand::random_range(1..60))).await;
                    if cutting.load(Ordering::Relaxed) {
                        return;
                    }
                }
            };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                () = cut => {}
            }
        });
    }
}

/// Pushes blobs and tags until told to end.
async fn push(shared: Shared, base: String, token: String, mut rng: StdRng) {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let call = async |method: Method, path: String, kind: &'static str, body: Vec<u8>| -> Option<Response> {
        let request = client.request(method, format!("{base}/v2/{REPOSITORY}/{path}")).bearer_auth(&token);
        request.header("content-type", kind).body(body).send().await.ok()
    };
    let blob = async |bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        let answer = call(Method::POST, format!("blobs/uploads/?digest={digest}"), "application/octet-stream", bytes.clone()).await?;
        (answer.status() == StatusCode::CREATED).then(|| shared.know(|known| known.blobs.insert(digest, bytes)))
    };
    let mut number = 0;
    while shared.goes_on() {
        number += 1;
        let mut bytes = vec![0; rng.random_range(1..400_000)];
        rng.fill_bytes(&mut bytes);
        if blob(EMPTY_BYTES.to_vec()).await.is_some() && blob(bytes.clone()).await.is_some() {
            let name = format!("t-{number}");
            let manifest = ImageManifest {
                schema_version: 2,
                media_type: Some(MANIFEST_TYPE.into()),
                artifact_type: Some("application/vnd.test.thing".into()),
                config: Descriptor::of(EMPTY_TYPE, EMPTY_BYTES),
                layers: vec![Descriptor::of(WEIGHT_TYPE, &bytes)],
                subject: None,
                annotations: None,
            };
            let bytes = manifest.to_bytes();
            shared.know(|known| known.tags_tried.insert(name.clone(), bytes.clone()));
            let answer = call(Method::PUT, format!("manifests/{name}"), MANIFEST_TYPE, bytes.clone()).await;
            if answer.is_some_and(|answer| answer.status() == StatusCode::CREATED) {
                shared.know(|known| known.tags.insert(name, bytes));
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Where an answer leads that says "done".
fn done(response: Option<Response>, to: &str) -> Option<String> {
    let response = response.filter(|response| response.status() == StatusCode::SEE_OTHER)?;
    let place = response.headers().get("location")?.to_str().ok()?;
    Some(place.strip_prefix(to)?.split('?').next()?.to_owned())
}

/// Orders and pays until told to end.
async fn trade(shared: Shared, buyer: Reader, finance: Reader, plan: String, amount: String) {
    let mut number = 0;
    while shared.goes_on() {
        number += 1;
        let form = [("plan", plan.as_str()), ("nodes", "1")];
        if let Some(order) = done(buyer.attempt(&format!("/apps/heitan-vision/{ASKED}/order"), &form).await, "/mine/orders/") {
            shared.know(|known| known.orders.push(order.clone()));
            let serial = format!("CHAOS{number:06}");
            let form = [("amount", amount.as_str()), ("bank_serial", &serial), ("payer", "乌兰煤矿")];
            if done(finance.attempt(&format!("/admin/payments/{order}"), &form).await, "/admin/").is_some() {
                shared.know(|known| known.payments.push((order, serial)));
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Changes a parameter of a deployed app until told to end.
async fn change(shared: Shared, deployer: Reader, (license, release, node): (String, String, String)) {
    for number in 0_u32.. {
        let value = 40.0 + f64::from(number % 400) / 10.0;
        let text = value.to_string();
        shared.know(|known| known.open.push(value));
        let form = [("license", license.as_str()), ("release", &release), ("node", &node), ("p.csr_min", &text)];
        if done(deployer.attempt("/mine/deploy", &form).await, "/mine/deployments/").is_some() {
            shared.know(|known| {
                known.changes += 1;
                known.value = Some(value);
                known.open.clear();
            });
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        if !shared.goes_on() {
            return;
        }
    }
}

/// Asks the app until told to end; the number of answers, and what went wrong.
async fn ask(shared: Shared, node: String) -> (usize, Vec<String>) {
    let picture = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps").join(ASKED).join("golden/1.png")).unwrap();
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let (mut answers, mut wrong) = (0, Vec::new());
    while shared.goes_on() {
        match client.post(format!("{node}/v1/apps/{ASKED}/predict")).body(picture.clone()).send().await {
            Ok(response) if response.status() == StatusCode::OK => answers += 1,
            Ok(response) => wrong.push(format!("{} {}", response.status(), response.text().await.unwrap_or_default())),
            Err(e) => wrong.push(e.to_string()),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    (answers, wrong)
}

/// Holds the database's write lock as another process does.
async fn lock(url: String, pause: Duration) {
    let db = Db::open(&Location::parse(&url).unwrap(), 1).unwrap();
    // The server may have the lock itself.
    for _ in 0..10 {
        let held = db.write(move |_| {
            std::thread::sleep(pause);
            Ok(())
        });
        if held.await.is_ok() {
            return;
        }
    }
    panic!("the database is never free");
}

async fn strike(fault: Fault, demo: &mut Demo, disk: Option<&Disk>, cutting: &AtomicBool, rng: &mut StdRng) {
    let url = format!("sqlite:{}", demo.folder.join("pithead.db").display());
    let mut pause = |from: u64, to: u64| Duration::from_millis(rng.random_range(from..to));
    let kill = |demo: &mut Demo| {
        tokio::task::block_in_place(|| {
            demo.kill();
            demo.again()
        })
    };
    match fault {
        Fault::Kill => println!("  ready after {:?}", kill(demo)),
        // Longer than the server waits for the lock.
        Fault::Lock => lock(url, pause(1_000, 7_500)).await,
        Fault::LockAndKill => {
            let (held, wait) = (tokio::spawn(lock(url, pause(1_000, 3_000))), pause(100, 800));
            tokio::time::sleep(wait).await;
            println!("  ready after {:?}", kill(demo));
            held.await.unwrap();
        }
        Fault::Cut => {
            cutting.store(true, Ordering::Relaxed);
            tokio::time::sleep(pause(500, 3_000)).await;
            cutting.store(false, Ordering::Relaxed);
        }
        Fault::Fill => {
            if let Some(disk) = disk {
                disk.fill(pause(500, 3_000)).await;
            }
        }
    }
}

/// Waits until each client has got something done since `before`.
async fn recovered(shared: &Shared, fault: Fault, before: [usize; 3]) {
    let begin = Instant::now();
    loop {
        let now = shared.know(|known| known.counts());
        if now.iter().zip(before).all(|(now, before)| *now > before) {
            return;
        }
        assert!(begin.elapsed() < RECOVERY, "{fault:?}: a minute later the clients have done {now:?}, at its end {before:?}");
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
    let disk = Disk::mount(&folder);
    let mut demo = Demo::start_in(folder);
    let mut faults = vec![Fault::Kill, Fault::Lock, Fault::LockAndKill, Fault::Cut];
    if disk.is_some() {
        faults.push(Fault::Fill);
    } else {
        println!("this user may not mount a file system: the disk is not filled");
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
    let (cutting, shared) = (Arc::new(AtomicBool::new(false)), Shared(Arc::default(), Arc::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = format!("http://{}", listener.local_addr().unwrap());
    let to: SocketAddr = demo.base.trim_start_matches("http://").parse().unwrap();
    let proxy = tokio::spawn(proxy(listener, to, cutting.clone()));
    let mut person = HashMap::new();
    for role in ["operator-owner", "finance", "operator-deployer"] {
        person.insert(role, demo.sign_in(role).await.through(&through));
    }
    let mut reader = |role: &str| person.remove(role).unwrap();
    let (_, _, token) = demo.person("vendor-owner");
    let clients = [
        tokio::spawn(push(shared.clone(), through.clone(), token.clone(), StdRng::seed_from_u64(seed ^ 1))),
        tokio::spawn(trade(shared.clone(), reader("operator-owner"), reader("finance"), plan.0, amount)),
        tokio::spawn(change(shared.clone(), reader("operator-deployer"), deployed.clone())),
    ];
    let asking = tokio::spawn(ask(shared.clone(), demo.nodes[1].clone()));
    recovered_from_start(&shared).await;

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
        strike(fault, &mut demo, disk.as_ref(), &cutting, &mut rng).await;
        let before = shared.know(|known| known.counts());
        recovered(&shared, fault, before).await;
    }
    shared.1.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (answers, wrong) = asking.await.unwrap();
    proxy.abort();
    let counts = shared.know(|known| known.counts());
    println!("{struck} faults in {:?}; acknowledged (pushes, trades, changes): {counts:?}; {answers} answers of the app", begin.elapsed());
    assert!(wrong.is_empty(), "the app did not answer {} of {} times: {:?}", wrong.len(), answers + wrong.len(), wrong.first());
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

async fn recovered_from_start(shared: &Shared) {
    let begin = Instant::now();
    while shared.know(|known| known.counts()).contains(&0) {
        assert!(begin.elapsed() < RECOVERY, "the clients get nothing done: {:?}", shared.know(|known| known.counts()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn pushed_is_there(demo: &Demo, token: &str, known: &Known) {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let get = async |path: String| {
        let answer = client.get(format!("{}/v2/{REPOSITORY}/{path}", demo.base)).bearer_auth(token).send().await.expect("the server runs");
        (answer.status(), answer.bytes().await.expect("a whole body"))
    };
    for (digest, bytes) in &known.blobs {
        let (status, found) = get(format!("blobs/{digest}")).await;
        assert!(status == StatusCode::OK && found == *bytes, "the acknowledged blob {digest}: {status}, {} bytes", found.len());
    }
    for (name, bytes) in &known.tags_tried {
        let (status, found) = get(format!("manifests/{name}")).await;
        let absent = status == StatusCode::NOT_FOUND && !known.tags.contains_key(name);
        assert!(absent || (status == StatusCode::OK && found == *bytes), "the tag {name}: {status}");
    }
}

/// Orders, payments and licences fit each other, also those whose answers were lost.
async fn traded_is_there(demo: &Demo, known: &Known, node: &str) {
    let node = node.to_owned();
    let (placed, paid, issued, parameters) = demo
        .read(move |conn| {
            let placed: Vec<(String, i64)> = orders::table.select((orders::id, orders::amount_fen)).load(conn)?;
            let paid: Vec<(String, String, i64)> =
                payments::table.select((payments::order_id, payments::bank_serial, payments::amount_fen)).load(conn)?;
            let issued: Vec<String> = licenses::table.select(licenses::order_id).load(conn)?;
            let changed: String = apps::table.filter(apps::slug.eq(CHANGED)).select(apps::id).first(conn)?;
            let parameters: String = deployments::table
                .filter(deployments::node_id.eq(node).and(deployments::app_id.eq(changed)))
                .select(deployments::parameters)
                .first(conn)?;
            Ok((placed, paid, issued, parameters))
        })
        .await;
    for order in &known.orders {
        assert!(placed.iter().any(|(id, _)| id == order), "the acknowledged order {order} is gone");
    }
    for (order, serial) in &known.payments {
        assert!(paid.iter().any(|(of, number, _)| (of, number) == (order, serial)), "the acknowledged payment {serial} of {order} is gone");
    }
    for (order, amount) in placed.iter().filter(|(_, amount)| *amount > 0) {
        let received: i64 = paid.iter().filter(|(of, ..)| of == order).map(|(_, _, amount)| amount).sum();
        let licences = issued.iter().filter(|of| *of == order).count();
        assert_eq!(licences, usize::from(received >= *amount), "order {order}: {received} of {amount} fen are there");
    }
    let parameters: serde_json::Value = serde_json::from_str(&parameters).unwrap();
    let value = parameters["csr_min"].as_f64().expect("the parameter");
    let may_be = known.value.iter().chain(&known.open).any(|known| (known - value).abs() < 1e-9);
    assert!(may_be, "the parameter is {value}, acknowledged was {:?}, sent since {:?}", known.value, known.open);
}
