//! No browser and no proxy keeps a page with a secret: a session, a CSRF value, a token, a code, a link that acts.

use pithead::account::service as account;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode};

use crate::server::{PASSWORD, TestServer};
use crate::sources;

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    async fn of(request: RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        Self { status, headers, text: String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The CSRF value of a form in it.
    fn csrf(&self) -> &str {
        self.text.split_once("name=\"_csrf\" value=\"").unwrap().1.split('"').next().unwrap()
    }
}

/// Says what would be kept that must not be: an answer with a cookie, a page for a person, a form, an error.
fn kept(route: &str, answer: &Answer, signed_in: bool) -> Option<String> {
    let failed = answer.status.is_client_error() || answer.status.is_server_error();
    // Forms of pages that are the same for everybody have an empty value.
    let csrf = answer.text.split("name=\"_csrf\" value=\"").skip(1).any(|value| !value.starts_with('"'));
    let page = answer.header("content-type").starts_with("text/html") && (signed_in || failed || csrf);
    let refused = answer.header("cache-control").split(',').any(|word| word.trim() == "no-store");
    let secret = page || answer.headers.contains_key("set-cookie");
    (secret && !refused).then(|| format!("{route}: {} with cache-control {:?}", answer.status, answer.header("cache-control")))
}

#[tokio::test]
async fn pages_with_secrets_are_not_stored() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (email, _) = server.organization("operator", "deep-mine").await;
    let (administrator, _) = server.organization("platform", "pithead").await;
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut sessions = vec![None];
    for email in [&email, &administrator] {
        let session = account::sign_in(&server.app, email, PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
        account::authenticate_session(&server.app, &session).await.unwrap();
        sessions.push(Some(format!("__Host-session={session}")));
    }
    let (mut stored, mut pages) = (Vec::new(), 0);
    // An event stream does not end.
    let routes = sources::routes("get").into_iter().filter(|route| !sources::is_for_programs(route) && route != "/events");
    for route in routes {
        // Nothing has such an id or a secret: the pages that say so must not be kept either.
        let path: String =
            route.split('/').map(|part| if part.starts_with('{') { "none-such" } else { part }).collect::<Vec<_>>().join("/");
        for session in &sessions {
            let request = client.get(format!("{}{path}", server.base));
            let answer = session.iter().fold(request, |request, cookie| request.header("cookie", cookie));
            let answer = Answer::of(answer).await;
            pages += usize::from(answer.status == StatusCode::OK);
            stored.extend(kept(&route, &answer, session.is_some()));
        }
    }
    assert!(pages > 60, "{pages} pages were seen");

    // What signs in and what shows a secret once.
    let form = Answer::of(client.get(format!("{}/sign-in", server.base))).await;
    assert_eq!(form.header("cache-control"), "private, no-store");
    let before = form.header("set-cookie").split(';').next().unwrap().to_owned();
    let post = async |path: &str, cookie: &str, csrf: &str, fields: &[(&str, &str)]| {
        let mut fields = fields.to_vec();
        fields.push(("_csrf", csrf));
        let request = client.post(format!("{}{path}", server.base)).header("cookie", cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Answer::of(request.body(serde_urlencoded::to_string(fields).unwrap())).await
    };
    let signed_in = post("/sign-in", &before, form.csrf(), &[("email", &email), ("password", PASSWORD)]).await;
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
    stored.extend(kept("POST /sign-in", &signed_in, true));
    let refused = post("/sign-in", &before, form.csrf(), &[("email", &email), ("password", "wrong")]).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    stored.extend(kept("POST /sign-in, refused", &refused, false));
    let session = sessions[1].as_deref().unwrap();
    let tokens = Answer::of(client.get(format!("{}/account/tokens", server.base)).header("cookie", session)).await;
    let made = post("/account/tokens", session, tokens.csrf(), &[("name", "t"), ("days", "1"), ("scopes", "read")]).await;
    stored.extend(kept("POST /account/tokens", &made, true));
    let once = made.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap().split(';').next().unwrap());
    let cookies = std::iter::once(session).chain(once).collect::<Vec<_>>().join("; ");
    let shown = Answer::of(client.get(format!("{}{}", server.base, made.header("location"))).header("cookie", cookies)).await;
    assert!(shown.text.contains("pht_"), "{} {}", shown.status, shown.text);
    stored.extend(kept("the token, once", &shown, true));
    assert!(stored.is_empty(), "a browser may keep:\n{}", stored.join("\n"));
    server.stop().await;
}
