//! The golden authorisation table: every action × every role, and every GET and POST route of people × every role × own and another
//! tenant, as `tests/api/rights.golden` lists it.
//!
//! A new route changes the table, so nobody can forget to think about it. `UPDATE_GOLDEN=1` writes the file anew; read the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use pithead::account::{service as account, tokens};
use pithead::base::auth::policy::{self, Action};
use pithead::base::auth::{Actor, OrgKind, Role, Via};
use pithead::license::model::LicenseDecision;
use pithead::stops::model::Stop;
use reqwest::{Client, RequestBuilder};

use crate::server::TestServer;
use crate::sources::{self, is_for_programs};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/rights.golden");

fn compare(name: &str, table: &str) {
    let mut golden: BTreeMap<String, String> = BTreeMap::new();
    let text = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    for part in text.split("== ").filter(|p| !p.trim().is_empty()) {
        let (title, body) = part.split_once('\n').unwrap();
        golden.insert(title.trim().to_owned(), body.to_owned());
    }
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        golden.insert(name.to_owned(), table.to_owned());
        let text = golden.iter().map(|(title, body)| format!("== {title}\n{body}")).collect::<Vec<_>>().concat();
        std::fs::write(GOLDEN, text).unwrap();
        return;
    }
    let known = golden.get(name).map_or("", String::as_str);
    if known != table {
        let changed: Vec<&str> = table.lines().filter(|l| !known.contains(l)).collect();
        panic!("the table \"{name}\" has changed; new or other lines:\n{}\n(UPDATE_GOLDEN=1 accepts)", changed.join("\n"));
    }
}

#[test]
fn actions_by_role() {
    let mut table = String::new();
    for action in Action::ALL {
        let mut allowed = Vec::new();
        for kind in OrgKind::ALL {
            for role in Role::of(*kind) {
                if policy::permits(*kind, *role, *action) {
                    allowed.push(format!("{kind}:{role}"));
                }
            }
        }
        let scope = policy::scope_of(*action).map_or("session", policy::Scope::as_str);
        writeln!(table, "{action} [{scope}] {}", allowed.join(" ")).unwrap();
    }
    compare("actions", &table);
}

/// Paths of the routes of a method that people use: streams, node endpoints and the registry have tests of their own.
fn routes(method: &str) -> BTreeSet<String> {
    let of_people = |route: &String| !is_for_programs(route) && route != "/events" && !route.contains("{path");
    sources::routes(method).iter().filter(|route| of_people(route)).flat_map(|route| with_words(route)).collect()
}

/// A route with each of the words by which its address says what is done, and so which right that needs; else the route itself.
fn with_words(route: &str) -> Vec<String> {
    let each = |place: &str, words: Vec<&str>| words.iter().map(|word| route.replace(place, word)).collect();
    if route.contains("{stop}") {
        each("{stop}", Stop::ALL.iter().map(|stop| stop.as_str()).collect())
    } else if route.contains("{decision}") {
        each("{decision}", LicenseDecision::ALL.iter().map(|decision| decision.as_str()).collect())
    } else {
        vec![route.to_owned()]
    }
}

/// Someone who asks: name, session cookie and CSRF value.
struct Asker {
    name: String,
    cookie: String,
    csrf: String,
}

/// The server with every role of a vendor, a mine, another mine and the platform.
struct People {
    server: TestServer,
    askers: Vec<Asker>,
    /// Who makes what the others ask for.
    owner: Actor,
    client: Client,
}

impl People {
    async fn arrive() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = TestServer::start().await;
        let nobody = Asker { name: "nobody".into(), cookie: String::new(), csrf: "x".into() };
        let (mut askers, mut owner) = (vec![nobody], Actor::Anonymous);
        for (kind, slug) in
            [(OrgKind::Vendor, "acme"), (OrgKind::Operator, "mine"), (OrgKind::Operator, "other-mine"), (OrgKind::Platform, "platform")]
        {
            let (_, id) = server.organization(kind.as_str(), slug).await;
            for role in Role::of(kind) {
                let email = format!("{role}@{slug}.test");
                server.person(&id, *role, &email).await;
                let cookie = account::sign_in(&server.app, &email, crate::server::PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
                let actor = account::authenticate_session(&server.app, &cookie).await.unwrap();
                let Actor::Person(_, Via::Session { csrf, .. }) = &actor else { panic!("{email} has no session") };
                let csrf = csrf.clone();
                if (slug, *role) == ("mine", Role::Owner) {
                    owner = actor;
                }
                askers.push(Asker { name: format!("{slug}:{role}"), cookie, csrf });
            }
        }
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { server, askers, owner, client }
    }

    /// A node of the operator `mine`, so that people of that mine ask for what is theirs, the others for what is not.
    async fn node(&self, name: &str) -> String {
        let site = pithead::fleet::service::create_site(&self.server.app, &self.owner, &format!("{name} 号井")).await.unwrap();
        pithead::fleet::service::create_node(&self.server.app, &self.owner, &site, name).await.unwrap().node_id
    }

    /// Who gets which answer.
    async fn answers(&self, request: impl AsyncFn(&Asker) -> RequestBuilder) -> BTreeMap<String, Vec<&str>> {
        let mut answers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for asker in &self.askers {
            let response = request(asker).await.send().await.unwrap();
            let status = response.status();
            assert!(!status.is_server_error(), "{} for {}: {status}", response.url(), asker.name);
            let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
            assert!(!to.starts_with("/sign-in") || asker.name == "nobody", "{} sends {} to sign in", response.url(), asker.name);
            answers.entry(status.as_u16().to_string()).or_default().push(&asker.name);
        }
        answers
    }
}

fn told(table: &mut String, route: &str, answers: BTreeMap<String, Vec<&str>>) {
    writeln!(table, "{route}").unwrap();
    for (status, names) in answers {
        writeln!(table, "  {status} {}", names.join(" ")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_by_role() {
    let people = People::arrive().await;
    let node = people.node("node-1").await;
    tokens::create(&people.server.app, &people.owner, "t", &["read"], 1).await.unwrap();
    let mut table = String::new();
    for route in routes("get") {
        let address = format!("{}{}", people.server.base, address(&route, &node));
        let ask = async |asker: &Asker| {
            let request = people.client.get(&address);
            if asker.cookie.is_empty() { request } else { request.header("cookie", format!("__Host-session={}", asker.cookie)) }
        };
        told(&mut table, &route, people.answers(ask).await);
    }
    people.server.stop().await;
    compare("pages", &table);
}

/// Routes that are no question of rights: they begin or end the session by which the table is made.
const SESSIONS: [&str; 3] = ["/sign-in", "/sign-out", "/sign-up"];

/// One form for all routes, filled in so that rights are asked for: 403 says that the asker may not, 303 that it is done, and 404, 409 and
/// 422 that it fails for the thing that is named only. Nodes are the mine's and new for each who asks; other things of others are tried in
/// `tests/system/strangers.rs`, where there are some.
#[tokio::test(flavor = "multi_thread")]
async fn forms_by_role() {
    let people = People::arrive().await;
    let mut table = String::new();
    let number = std::cell::Cell::new(0);
    for route in routes("post").iter().filter(|route| !SESSIONS.contains(&route.as_str())) {
        let ask = async |asker: &Asker| {
            number.set(number.get() + 1);
            let name = format!("n-{}", number.get());
            let node = if route.starts_with("/mine/nodes/{") { people.node(&name).await } else { "none-such".to_owned() };
            let request = people
                .client
                .post(format!("{}{}", people.server.base, address(route, &node)))
                .header("x-csrf-token", pithead::http::csrf::masked(&asker.csrf));
            let session = if asker.cookie.is_empty() { "csrf=x".to_owned() } else { format!("session={}", asker.cookie) };
            let request = request.header("cookie", format!("__Host-{session}"));
            if route.starts_with("/vendor/upload/") {
                return request.json(&serde_json::json!({"yaml": "", "files": []}));
            }
            let email = format!("{name}@new.test");
            let fields = [
                ("id", "none-such"),
                ("ids", "none-such"),
                ("organization", "none-such"),
                ("license", "none-such"),
                ("release", "none-such"),
                ("node", "none-such"),
                ("site_id", "none-such"),
                ("plan", "none-such"),
                ("nodes", "1"),
                ("name", &name),
                ("email", &email),
                ("role", "member"),
                ("scope", "read"),
                ("days", "1"),
                ("password", crate::server::PASSWORD),
                ("kind", "perpetual"),
                ("price", "1.00"),
                ("amount", "1.00"),
                ("bank_serial", &name),
                ("payer", "x"),
                ("reason", "because"),
                ("note", "because"),
                ("verdict", "real"),
                ("minutes", "10"),
                ("message_en", "x"),
                ("decision", "reject"),
                ("hidden", "true"),
            ];
            let kind = "application/x-www-form-urlencoded";
            request.header("content-type", kind).body(serde_urlencoded::to_string(fields).unwrap())
        };
        told(&mut table, route, people.answers(ask).await);
    }
    people.server.stop().await;
    compare("forms", &table);
}

/// Calls of `/api/v1`: the rights of a page, at another address. 422 is a thing that cannot be, 404 one that is not there or not theirs. As of
/// forms, nodes are the mine's, and new for each who would change one.
#[tokio::test(flavor = "multi_thread")]
async fn calls_by_role() {
    let people = People::arrive().await;
    let node = people.node("node-1").await;
    let site = pithead::fleet::service::create_site(&people.server.app, &people.owner, "0 号井").await.unwrap();
    let mut table = String::new();
    let number = std::cell::Cell::new(0);
    for method in ["get", "post", "delete"] {
        for route in sources::routes_of("src/wire/api", method) {
            let ask = async |asker: &Asker| {
                number.set(number.get() + 1);
                let name = format!("c-{}", number.get());
                let id = match (route.starts_with("/api/v1/nodes/"), method) {
                    (true, "get") => node.clone(),
                    (true, _) => people.node(&name).await,
                    (false, _) => "none-such".to_owned(),
                };
                let address = format!("{}{}", people.server.base, fill(&route.replace("{id}", &id)));
                let body = match route.as_str() {
                    "/api/v1/orders" => serde_json::json!({"plan": "none-such", "nodes": 1}),
                    "/api/v1/deployments" => serde_json::json!({"release": "none-such", "license": "none-such", "nodes": [&node]}),
                    "/api/v1/releases/{id}/submit" => serde_json::json!({"channel": "stable"}),
                    "/api/v1/sites" => serde_json::json!({"name": name}),
                    "/api/v1/nodes" => serde_json::json!({"site_id": site, "name": name}),
                    "/api/v1/cases/{id}/decision" => serde_json::json!({"decision": "approve"}),
                    "/api/v1/alarms/acknowledge" => serde_json::json!({"ids": ["none-such"]}),
                    "/api/v1/alarms/{id}/judge" => serde_json::json!({"verdict": "real"}),
                    "/api/v1/alarms/{id}/shelve" => serde_json::json!({"minutes": 10, "reason": "because"}),
                    "/api/v1/alarms/{id}/take-out" => serde_json::json!({"reason": "because"}),
                    "/api/v1/own/listings/{app}/hidden" => serde_json::json!({"hidden": true}),
                    _ => serde_json::json!({}),
                };
                let request = people.client.request(method.to_uppercase().parse().unwrap(), &address);
                let request = request.header("x-csrf-token", pithead::http::csrf::masked(&asker.csrf));
                let request =
                    if asker.cookie.is_empty() { request } else { request.header("cookie", format!("__Host-session={}", asker.cookie)) };
                if method == "get" { request } else { request.json(&body) }
            };
            told(&mut table, &format!("{} {route}", method.to_uppercase()), people.answers(ask).await);
        }
    }
    people.server.stop().await;
    compare("calls", &table);
}

/// The route with a node in it where it asks for one, else with names that nothing has.
fn address(route: &str, node: &str) -> String {
    match (route.find('{'), route.find('}')) {
        (Some(from), Some(to)) if route.starts_with("/mine/nodes/{") => fill(&route.replacen(&route[from..=to], node, 1)),
        _ => fill(route),
    }
}

/// Puts a name that nothing has into each placeholder.
fn fill(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        out.push_str("none-such");
        rest = after.split_once('}').map_or("", |(_, tail)| tail);
    }
    out + rest
}
