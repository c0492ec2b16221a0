//! The clients, which know only what they were told, and what must be there in the end.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::oci::{Descriptor, EMPTY_BYTES, EMPTY_TYPE, ImageManifest, MANIFEST_TYPE, WEIGHT_TYPE};
use diesel::prelude::*;
use pithead::base::db::schema::{apps, audit_records, deployments, licenses, orders, payments};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use reqwest::{Client, Method, Response, StatusCode};

use crate::demo::{Demo, Reader};

const REPOSITORY: &str = "heitan-vision/chaos";
/// The app that is asked throughout, on the second node: one of safety class, which runs on where a clock says that its licence has ended.
pub const ASKED: &str = "smoke-fire";
/// The app whose parameter is changed, on the first node.
pub const CHANGED: &str = "coke-quality";

/// What clients know: only what they were told.
#[derive(Default)]
pub struct Known {
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
    /// What people were last told where nothing was done, by where the answer would have led.
    told: HashMap<String, String>,
}

impl Known {
    /// How much each client has got done.
    pub fn counts(&self) -> [usize; 3] {
        [self.blobs.len() + self.tags.len(), self.orders.len() + self.payments.len(), self.changes]
    }

    pub fn refusals(&self) -> &HashMap<String, String> {
        &self.told
    }
}

/// What all clients share: what they know, and whether they are to end.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Known>>, Arc<AtomicBool>);

impl Shared {
    pub fn know<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells all clients to end.
    pub fn end(&self) {
        self.1.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.1.load(Ordering::Relaxed)
    }
}

/// Pushes blobs and tags until told to end.
pub async fn push(shared: Shared, base: String, token: String, mut rng: StdRng) {
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

/// A person who signs in again where the session is over, as it is after a jump of the clock.
pub struct Person {
    reader: Reader,
    base: String,
    email: String,
    password: String,
}

impl Person {
    /// A person of the demo on a way of their own to the server.
    pub async fn of(demo: &Demo, role: &str, base: &str) -> Self {
        let (email, password, _) = demo.person(role);
        let reader = Reader::sign_in(base, &email, &password).await.expect("a session");
        Self { reader, base: base.to_owned(), email, password }
    }

    /// Sends a form; where the answer leads, below `to`, if it says "done".
    async fn does(&mut self, shared: &Shared, path: &str, fields: &[(&str, &str)], to: &str) -> Option<String> {
        let response = self.reader.attempt(path, fields).await?;
        let status = response.status();
        let place = response.headers().get("location").and_then(|place| place.to_str().ok()).unwrap_or_default().to_owned();
        if let Some(place) = place.strip_prefix(to).filter(|_| status == StatusCode::SEE_OTHER) {
            return Some(place.split('?').next()?.to_owned());
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            && let Some(reader) = Reader::sign_in(&self.base, &self.email, &self.password).await
        {
            self.reader = reader;
        }
        let page = response.text().await.unwrap_or_default();
        let texts = page.split('<').filter_map(|part| part.split_once('>')).flat_map(|(_, text)| text.split_whitespace());
        let text = texts.collect::<Vec<_>>().join(" ");
        shared.know(|known| known.told.insert(to.to_owned(), format!("{status} {place} {text}")));
        None
    }
}

/// Orders and pays until told to end.
pub async fn trade(shared: Shared, mut buyer: Person, mut finance: Person, plan: String, amount: String) {
    let mut number = 0;
    while shared.goes_on() {
        number += 1;
        let form = [("plan", plan.as_str()), ("nodes", "1")];
        if let Some(order) = buyer.does(&shared, &format!("/apps/heitan-vision/{ASKED}/order"), &form, "/mine/orders/").await {
            shared.know(|known| known.orders.push(order.clone()));
            let serial = format!("CHAOS{number:06}");
            let form = [("amount", amount.as_str()), ("bank_serial", &serial), ("payer", "乌兰煤矿")];
            if finance.does(&shared, &format!("/admin/payments/{order}"), &form, "/admin/").await.is_some() {
                shared.know(|known| known.payments.push((order, serial)));
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Changes a parameter of a deployed app until told to end.
pub async fn change(shared: Shared, mut deployer: Person, (license, release, node): (String, String, String)) {
    for number in 0_u32.. {
        let value = 40.0 + f64::from(number % 400) / 10.0;
        let text = value.to_string();
        shared.know(|known| known.open.push(value));
        let form = [("license", license.as_str()), ("release", &release), ("node", &node), ("p.csr_min", &text)];
        if deployer.does(&shared, "/mine/deploy", &form, "/mine/deployments/").await.is_some() {
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

/// One picture through the app.
struct Question {
    client: Client,
    address: String,
    picture: Vec<u8>,
}

impl Question {
    /// What went wrong, if anything.
    async fn ask(&self) -> Option<String> {
        match self.client.post(&self.address).body(self.picture.clone()).send().await {
            Ok(response) if response.status() == StatusCode::OK => None,
            Ok(response) => Some(format!("{} {}", response.status(), response.text().await.unwrap_or_default())),
            Err(e) => Some(e.to_string()),
        }
    }
}

/// Asks the app until told to end; the number of answers, and what went wrong. The first answer is there when this returns, since the node
/// may have to start the app first.
pub async fn ask(shared: Shared, node: String) -> tokio::task::JoinHandle<(usize, Vec<String>)> {
    let picture = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps").join(ASKED).join("golden/1.png")).unwrap();
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let question = Question { client, address: format!("{node}/v1/apps/{ASKED}/predict"), picture };
    let begin = Instant::now();
    while let Some(wrong) = question.ask().await {
        assert!(begin.elapsed() < Duration::from_mins(1), "the app does not start: {wrong}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::spawn(async move {
        let (mut answers, mut wrong) = (0, Vec::new());
        while shared.goes_on() {
            match question.ask().await {
                None => answers += 1,
                Some(what) => wrong.push(what),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        (answers, wrong)
    })
}

pub async fn pushed_is_there(demo: &Demo, token: &str, known: &Known) {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let get = async |path: String| {
        let answer = client.get(format!("{}/v2/{REPOSITORY}/{path}", demo.base)).bearer_auth(token).send().await.expect("the server runs");
        (answer.status(), answer.bytes().await.expect("a whole body"))
    };
    let named = known.tags.values().flat_map(|bytes| serde_json::from_slice::<ImageManifest>(bytes).unwrap().layers);
    let named: HashSet<Digest> = named.map(|layer| layer.digest).collect();
    for (digest, bytes) in &known.blobs {
        let (status, found) = get(format!("blobs/{digest}")).await;
        if status == StatusCode::NOT_FOUND && !named.contains(digest) {
            // A clock that ran ahead makes a blob that no manifest names old enough to be collected.
            continue;
        }
        assert!(status == StatusCode::OK && found == *bytes, "the acknowledged blob {digest}: {status}, {} bytes", found.len());
    }
    for (name, bytes) in &known.tags_tried {
        let (status, found) = get(format!("manifests/{name}")).await;
        let absent = status == StatusCode::NOT_FOUND && !known.tags.contains_key(name);
        assert!(absent || (status == StatusCode::OK && found == *bytes), "the tag {name}: {status}");
    }
}

/// Waits until each node runs what is wanted of it, as the platform knows it from the nodes, and gives how many certificates were renewed.
pub async fn nodes_follow(demo: &Demo) -> i64 {
    let begin = Instant::now();
    loop {
        let (behind, renewed) = demo
            .read(|conn| {
                use deployments::dsl;
                let follows = dsl::state.eq("installed").and(dsl::adopted_version.ge(dsl::target_version));
                let behind: Vec<(String, String)> = dsl::deployments
                    .filter(dsl::wanted.eq(true).and(diesel::dsl::not(follows)))
                    .select((dsl::node_id, dsl::state))
                    .load(conn)?;
                let renewed = audit_records::table.filter(audit_records::action.eq("node.certificate-renewed"));
                Ok((behind, renewed.count().get_result::<i64>(conn)?))
            })
            .await;
        if behind.is_empty() {
            return renewed;
        }
        // A job of a server that was killed is done again after its lease of five minutes.
        assert!(begin.elapsed() < Duration::from_mins(7), "nodes that do not follow: {behind:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Orders, payments and licences fit each other, also those whose answers were lost.
pub async fn traded_is_there(demo: &Demo, known: &Known, node: &str) {
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
