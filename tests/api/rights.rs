//! The golden authorisation table: every GET route × every role × own and another tenant, as `tests/api/rights.golden` lists it.
//!
//! A new route changes the table, so nobody can forget to think about it. `UPDATE_GOLDEN=1` writes the file anew; read the difference.
//! Changing requests are covered by the policy half: every action × every role.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pithead::account::{service as account, tokens};
use pithead::base::auth::policy::{self, Action};
use pithead::base::auth::{OrgKind, Role};

use crate::server::TestServer;
use crate::sources::rust_sources;

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

/// Paths of the GET routes in the sources, as written there.
fn get_routes() -> Vec<String> {
    let mut found = Vec::new();
    for source in rust_sources("src") {
        let compact: String = source.code.split_whitespace().collect();
        for (at, _) in compact.match_indices(".route(\"") {
            let rest = &compact[at + 8..];
            let (route, after) = rest.split_once('"').unwrap();
            if after.starts_with(",web::get()") {
                found.push(route.to_owned());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_by_role() {
    let server = TestServer::start().await;
    let app = &server.app;
    let mut readers: Vec<(String, String)> = vec![("nobody".into(), String::new())];
    let mut organizations = Vec::new();
    for (kind, slug) in
        [(OrgKind::Vendor, "acme"), (OrgKind::Operator, "mine"), (OrgKind::Operator, "other-mine"), (OrgKind::Platform, "platform")]
    {
        let (_, id) = server.organization(kind.as_str(), slug).await;
        organizations.push((kind, slug, id));
    }
    for (kind, slug, id) in &organizations {
        for role in Role::of(*kind) {
            let email = format!("{role}@{slug}.test");
            server.person(id, *role, &email).await;
            let cookie = account::sign_in(app, &email, crate::server::PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
            readers.push((format!("{slug}:{role}"), cookie));
        }
    }
    // Things of the operator `mine`, whose addresses are tried by everyone.
    let (_, _, mine) = organizations.iter().find(|(_, slug, _)| *slug == "mine").unwrap();
    let user = readers.iter().position(|(name, _)| name == "mine:owner").unwrap();
    let owner = account::authenticate_session(app, &readers[user].1).await.unwrap();
    let site = pithead::fleet::service::create_site(app, &owner, "一号井").await.unwrap();
    let node = pithead::fleet::service::create_node(app, &owner, &site, "node-1").await.unwrap().node_id;
    tokens::create(app, &owner, "t", &["read"], 1).await.unwrap();
    let _ = mine;

    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut table = String::new();
    for route in get_routes() {
        // Streams, node endpoints and the registry have tests of their own.
        if route.starts_with("/v2")
            || route.starts_with("/api/")
            || route.starts_with("/edge/")
            || route == "/events"
            || route.contains("{path")
        {
            continue;
        }
        let path = if route.starts_with("/mine/nodes/{") {
            route.replacen(&route[route.find('{').unwrap()..=route.find('}').unwrap()], &node, 1)
        } else {
            route.clone()
        };
        let path: String = fill(&path);
        let mut statuses: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for (name, cookie) in &readers {
            let mut request = client.get(format!("{}{path}", server.base));
            if !cookie.is_empty() {
                request = request.header("cookie", format!("__Host-session={cookie}"));
            }
            let status = request.send().await.unwrap().status().as_u16();
            assert!(status < 500, "{route} for {name}: {status}");
            statuses.entry(status).or_default().push(name);
        }
        writeln!(table, "{route}").unwrap();
        for (status, names) in statuses {
            writeln!(table, "  {status} {}", names.join(" ")).unwrap();
        }
    }
    server.stop().await;
    compare("pages", &table);
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
