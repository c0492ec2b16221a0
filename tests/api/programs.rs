//! No program is told in HTML: every route for programs, and addresses beside them that no route knows, by every method, on both listeners,
//! whoever asks.

use pithead::account::service as account;
use pithead::account::tokens;
use reqwest::{Client, Method, StatusCode};

use crate::server::{PASSWORD, TestServer};
use crate::sources;

/// What is sent: nothing, a form as a registry client's, JSON.
const BODIES: [(&str, &str); 3] =
    [("", ""), ("application/x-www-form-urlencoded", "grant_type=password&_confirm=a%7Cb"), ("application/json", "{")];

/// Addresses of the routes for programs, and of what no route knows among them.
fn paths() -> Vec<String> {
    let unknown = [
        "/v2/acme",
        "/v2/_catalog/x",
        "/api",
        "/api/none",
        "/api/v1/none",
        "/edge/none",
        "/.well-known/none",
        "/token/none",
        "/vendor/upload/none",
    ];
    let known = ["get", "post", "put", "delete", "patch", "route"].into_iter().flat_map(sources::routes);
    let programs = |route: &String| {
        let first = route.split('/').nth(1).unwrap_or_default();
        let uploads = route.starts_with("/vendor/upload/");
        // The description of the interface is a page for people.
        route != "/api/v1/"
            && (uploads || matches!(first, "v2" | "token" | "api" | "edge" | "healthz" | "readyz" | "metrics" | ".well-known"))
    };
    let filled = |route: String| {
        let part = |part: &str| if part.starts_with('{') { "none-such".to_owned() } else { part.to_owned() };
        route.split('/').map(part).collect::<Vec<_>>().join("/")
    };
    let registry = ["/v2/", "/v2/acme/belt/tags/list", "/v2/acme/belt/manifests/1", "/v2/acme/belt/blobs/uploads/"];
    let mut all: Vec<String> = known.filter(programs).map(filled).chain(unknown.into_iter().chain(registry).map(str::to_owned)).collect();
    all.sort();
    all.dedup();
    all
}

#[tokio::test]
async fn no_program_is_told_in_html() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (email, _) = server.organization("vendor", "acme").await;
    let session = account::sign_in(&server.app, &email, PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
    let actor = account::authenticate_session(&server.app, &session).await.unwrap();
    let token = tokens::create(&server.app, &actor, "ci", &["read"], 1).await.unwrap();
    let credentials = [
        None,
        Some(("authorization", "Bearer pht_none".to_owned())),
        Some(("authorization", "Bearer none".to_owned())),
        Some(("authorization", format!("Bearer {token}"))),
        // A browser, of whose cookie a program of another site could make use: without the CSRF value.
        Some(("cookie", format!("__Host-session={session}"))),
    ];
    let client =
        Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).tls_danger_accept_invalid_certs(true).build().unwrap();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for base in [&server.base, &server.app.settings.server.edge_url] {
        for path in paths() {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
                for (n, credential) in credentials.iter().enumerate() {
                    for (kind, body) in BODIES {
                        let mut request =
                            client.request(method.clone(), format!("{base}{path}")).header("accept", "text/html,*/*").body(body);
                        for (name, value) in credential.iter().cloned().chain((!kind.is_empty()).then(|| ("content-type", kind.to_owned())))
                        {
                            request = request.header(name, value);
                        }
                        let answer = request.send().await.unwrap();
                        asked += 1;
                        let (status, told) = (answer.status(), answer.headers().get("content-type").cloned());
                        let html = told.as_ref().is_some_and(|told| told.to_str().unwrap().contains("html"));
                        // A program is not led to a page, either.
                        if html || status.is_redirection() || status == StatusCode::INTERNAL_SERVER_ERROR {
                            wrong.push(format!("{method} {path} ({n}, {kind:?}): {status} {told:?}"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 2_000, "{asked}");

    // The two from which registry clients begin.
    for (path, body) in [("/v2/", "grant_type=password"), ("/token", "grant_type=password&password=pht_none")] {
        let form = client.post(format!("{}{path}", server.base)).header("content-type", "application/x-www-form-urlencoded");
        let answer = form.body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer realm="), "{path}");
        assert_eq!(answer.headers()["docker-distribution-api-version"], "registry/2.0");
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["errors"][0]["code"], "UNAUTHORIZED");
    }
    // Some send the whole body before they were asked for credentials (oras): what asks them must not be the length.
    let upload =
        client.patch(format!("{}/v2/acme/belt/blobs/uploads/upl_1", server.base)).header("content-type", "application/octet-stream");
    assert_eq!(upload.body(vec![0; 32 * 1024]).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    server.stop().await;
}
