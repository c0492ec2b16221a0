//! HEAD, conditions and ranges (RFC 9110) over real sockets, on what has a tag or a length.

use reqwest::{Client, Method, Response, redirect};

use crate::server::TestServer;

fn header(answer: &Response, name: &str) -> Option<String> {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_answer_conditions_and_ranges_each_packing_with_a_tag_of_its_own() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let client = Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{}", server.base, pithead::http::assets::url("css/app.css"));
    let ask = async |method: Method, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(client.request(method, &url), |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap()
    };
    let mut tags = Vec::new();
    for packing in ["identity", "br;q=0, gzip", "br"] {
        let accept = ("accept-encoding", packing);
        let whole = ask(Method::GET, &[accept]).await;
        let packed = (packing == "br").then(|| "br".to_owned());
        assert_eq!((whole.status().as_u16(), header(&whole, "content-encoding")), (200, packed), "{packing}");
        assert_eq!(header(&whole, "vary").as_deref(), Some("Accept-Encoding"));
        let (tag, keep) = (header(&whole, "etag").unwrap(), header(&whole, "cache-control"));
        let bytes = whole.bytes().await.unwrap();
        let length = Some(bytes.len().to_string());

        let head = ask(Method::HEAD, &[accept, ("range", "bytes=0-9")]).await;
        assert_eq!((head.status().as_u16(), header(&head, "content-length"), header(&head, "etag")), (200, length, Some(tag.clone())));
        assert!(head.bytes().await.unwrap().is_empty());
        let held = ask(Method::GET, &[accept, ("if-none-match", &tag)]).await;
        assert_eq!((held.status().as_u16(), header(&held, "etag"), header(&held, "cache-control")), (304, Some(tag.clone()), keep));
        let part = ask(Method::GET, &[accept, ("range", "bytes=10-19"), ("if-range", &tag)]).await;
        assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, Some(format!("bytes 10-19/{}", bytes.len()))));
        assert_eq!(part.bytes().await.unwrap(), bytes.slice(10..20));
        let beyond = ask(Method::GET, &[accept, ("range", "bytes=9999999-")]).await;
        assert_eq!((beyond.status().as_u16(), header(&beyond, "content-range")), (416, Some(format!("bytes */{}", bytes.len()))));
        let other = ask(Method::GET, &[accept, ("if-match", "\"other\"")]).await;
        assert_eq!(other.status().as_u16(), 412);
        tags.push(tag);
    }
    assert!(tags[0] == tags[1] && tags[0] != tags[2], "{tags:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_the_headers_of_get() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap();
    for path in ["/", "/apps", "/healthz", "/readyz", "/.well-known/jwks.json", "/.well-known/margo", "/favicon.ico", "/nothing", "/mine"] {
        let ask = async |method: Method| client.request(method, format!("{}{path}", server.base)).send().await.unwrap();
        let (get, head) = (ask(Method::GET).await, ask(Method::HEAD).await);
        assert_eq!(get.status(), head.status(), "{path}");
        for name in ["content-type", "content-length", "cache-control", "location", "vary"] {
            // The page of an error holds the request's id, and a form another secret.
            assert_eq!(header(&get, name).is_some(), header(&head, name).is_some(), "{path} {name}");
        }
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
    }
    server.stop().await;
}
