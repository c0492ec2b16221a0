//! Every route of both listeners, over real sockets: a method that an address does not have is 405 with those that it has, HEAD is answered
//! as GET, OPTIONS names the methods; programs are answered in their own form, and in English unless they ask otherwise.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Certificate, Client, Method, Response, redirect};

use crate::server::TestServer;
use crate::sources::rust_sources;

/// Methods by route, of the sources below some folders.
fn table(folders: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let mut table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in rust_sources("src").into_iter().filter(|source| folders.iter().any(|folder| source.path.starts_with(folder))) {
        let compact: String = source.code.split_whitespace().collect();
        for (at, start) in compact.match_indices(".route(\"") {
            let (route, after) = compact[at + start.len()..].split_once('"').unwrap();
            let method = after.strip_prefix(",web::").and_then(|after| after.split_once("()")).map_or("", |(method, _)| method);
            if !matches!(method, "route" | "") {
                table.entry(route.to_owned()).or_default().insert(method.to_uppercase());
            }
        }
    }
    table
}

/// An address of a route.
fn example(route: &str) -> String {
    route.split('{').map(|part| part.split_once('}').map_or(part.to_owned(), |(_, rest)| format!("x{rest}"))).collect()
}

fn allowed(answer: &Response) -> BTreeSet<String> {
    let value = answer.headers().get("allow").map_or("", |value| value.to_str().unwrap());
    let all: Vec<String> = value.split(',').map(|method| method.trim().to_owned()).filter(|method| !method.is_empty()).collect();
    let once: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), once.len(), "{value}");
    once
}

fn kind(answer: &Response) -> String {
    answer.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned()
}

/// Walks a table of routes as a stranger; gives how many it had.
async fn walk(client: &Client, base: &str, table: &BTreeMap<String, BTreeSet<String>>) -> usize {
    for (route, methods) in table {
        let url = format!("{base}{}", example(route));
        let ask = async |method: Method| client.request(method, &url).send().await.unwrap();
        let wrong = ask(Method::PATCH).await;
        assert!(!methods.contains("PATCH"), "choose another method for {route}");
        assert_eq!(wrong.status().as_u16(), 405, "PATCH {url}");
        let allow = allowed(&wrong);
        assert!(methods.is_subset(&allow) && (allow.contains("HEAD") == allow.contains("GET")), "PATCH {url}: {allow:?}");
        if ["/api/", "/edge/", "/.well-known/", "/vendor/upload/"].iter().any(|programs| route.starts_with(programs)) {
            assert_eq!(kind(&wrong), "application/problem+json", "{url}");
        }
        let options = ask(Method::OPTIONS).await;
        assert_eq!((options.status().as_u16(), allowed(&options)), (204, allow), "OPTIONS {url}");
        if methods.contains("GET") {
            let (get, head) = (ask(Method::GET).await, ask(Method::HEAD).await);
            assert_eq!((get.status(), kind(&get)), (head.status(), kind(&head)), "{url}");
            assert!(!get.status().is_server_error() && head.bytes().await.unwrap().is_empty(), "{url}");
        }
    }
    table.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_says_which_methods_it_has() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let plain = || Client::builder().no_proxy().redirect(redirect::Policy::none());
    let client = plain().build().unwrap();
    let both = ["src/wire/ops.rs", "src/wire/oci/"];
    let site = walk(&client, &server.base, &table(&[&["src/site/", "src/http/", "src/wire/api/"], both.as_slice()].concat())).await;
    assert!(site > 80, "{site} routes of the site");

    let authority = Certificate::from_pem(server.app.ca.present().certificate_pem.as_bytes()).unwrap();
    let nodes = plain().tls_certs_only([authority]).build().unwrap();
    let of_nodes: BTreeMap<_, _> = table(&[&["src/wire/margo/", "src/wire/edge.rs"], both.as_slice()].concat())
        .into_iter()
        .filter(|(route, _)| route != "/metrics")
        .collect();
    let edge = walk(&nodes, &server.app.settings.server.edge_url, &of_nodes).await;
    assert!(edge > 10, "{edge} routes of nodes");

    // The registry has one route, and looks for itself.
    for path in ["/v2/", "/v2/acme/belt/tags/list", "/v2/acme/belt/manifests/latest", "/v2/acme/belt/blobs/uploads/"] {
        let wrong = client.patch(format!("{}{path}", server.base)).send().await.unwrap();
        assert!([401, 405].contains(&wrong.status().as_u16()), "{path}: {}", wrong.status());
        assert!(wrong.status() != 405 || !allowed(&wrong).is_empty(), "{path}");
    }
    // What is nowhere has no methods.
    let nothing = client.patch(format!("{}/nothing/here", server.base)).send().await.unwrap();
    assert_eq!((nothing.status().as_u16(), allowed(&nothing).len()), (404, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_read_english_unless_they_ask_otherwise() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let client = Client::builder().no_proxy().build().unwrap();
    let ask = async |path: &str, language: Option<&str>| {
        let request = client.get(format!("{}{path}", server.base)).header("authorization", "Bearer pht_none");
        let request = language.into_iter().fold(request, |request, language| request.header("accept-language", language));
        request.send().await.unwrap().text().await.unwrap()
    };
    let chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    for path in ["/v2/acme/belt/tags/list", "/token", "/api/v1/nodes", "/api/v1/nothing", "/.well-known/nothing", "/vendor/upload/target"] {
        for (language, zh) in [(None, false), (Some("fr"), false), (Some("en"), false), (Some("zh-CN,en;q=0.5"), true)] {
            let text = ask(path, language).await;
            assert!(text.starts_with('{') && chinese(&text) == zh, "{path} in {language:?}: {text}");
        }
    }
    for (language, zh) in [(None, true), (Some("fr"), true), (Some("en"), false)] {
        let page = client.get(format!("{}/nothing", server.base));
        let page = language.into_iter().fold(page, |page, language| page.header("accept-language", language));
        let text = page.send().await.unwrap().text().await.unwrap();
        assert_eq!(text.contains("<html lang=\"zh-CN\""), zh, "{language:?}");
    }
    server.stop().await;
}
