//! Reads as RFC 9110 has them: HEAD, conditions and ranges of whatever has a tag or a length; methods that are not known; pages of lists.

use super::*;

/// A repository with a blob, a manifest by tag and by digest, tags and a referrer; the paths of all that is read.
async fn filled(app: &App, acme: &Actor) -> Vec<(String, Bytes)> {
    let manifest = push_layer(app, acme, "acme/belt", b"weights", None).await;
    put_manifest(app, acme, "acme/belt", "1.0.0", &manifest.to_bytes()).await.expect(201);
    let referrer = ImageManifest { subject: Some(Descriptor::of(MANIFEST_TYPE, &manifest.to_bytes())), ..manifest.clone() };
    put_manifest(app, acme, "acme/belt", "sbom", &referrer.to_bytes()).await.expect(201);
    let digest = Digest::of(&manifest.to_bytes());
    let paths = [
        format!("/v2/acme/belt/blobs/{}", Digest::of(b"weights")),
        "/v2/acme/belt/manifests/1.0.0".to_owned(),
        format!("/v2/acme/belt/manifests/{digest}"),
        "/v2/acme/belt/tags/list".to_owned(),
        format!("/v2/acme/belt/referrers/{digest}"),
        "/v2/_catalog".to_owned(),
    ];
    let mut read = Vec::new();
    for path in paths {
        let body = get(app, acme, &path).await.expect(200).body;
        read.push((path, body));
    }
    read
}

#[tokio::test]
async fn conditions_and_ranges_hold_on_every_read() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        for (path, whole) in filled(&app, &acme).await {
            let ask = async |method: Method, headers: &[(&str, &str)]| send(&app, &acme, method, &path, headers, b"").await;
            let full = ask(Method::GET, &[]).await.expect(200);
            let etag = full.header("etag").to_owned();
            assert_eq!(etag, format!("\"{}\"", Digest::of(&whole)), "{path}");
            let length = whole.len();
            let (last, beyond) = (format!("bytes=1-{}", length + 7), format!("bytes={length}-"));

            let head = ask(Method::HEAD, &[("range", "bytes=1-2")]).await.expect(200);
            for name in ["etag", "content-type", "docker-content-digest", "accept-ranges", "link", "content-range"] {
                assert_eq!(head.header(name), full.header(name), "{path}: {name}");
            }
            let weak = format!("W/{etag}");
            let several = format!("\"x\", {etag}");
            for held in [&etag, "*", &weak, &several] {
                for method in [Method::GET, Method::HEAD] {
                    // The range comes after the condition.
                    let answer = ask(method, &[("if-none-match", held), ("range", "bytes=1-2")]).await.expect(304);
                    assert_eq!((answer.header("etag"), answer.body.len()), (etag.as_str(), 0), "{path}");
                    assert!(!answer.headers.contains_key("content-type") && !answer.headers.contains_key("content-range"));
                }
            }
            for other in ["\"x\"", "x", ""] {
                assert_eq!(ask(Method::GET, &[("if-none-match", other)]).await.expect(200).body, whole, "{path}: {other}");
                let refused = ask(Method::GET, &[("if-match", other)]).await.expect(412);
                assert!(String::from_utf8_lossy(&refused.body).contains("precondition-failed"), "{path}");
            }
            // Strongly: a weak tag is never the same.
            ask(Method::GET, &[("if-match", &weak)]).await.expect(412);
            ask(Method::GET, &[("if-match", &etag)]).await.expect(200);
            ask(Method::GET, &[("if-match", "*")]).await.expect(200);

            let part = ask(Method::GET, &[("range", &last)]).await.expect(206);
            assert_eq!(part.header("content-range"), format!("bytes 1-{}/{length}", length - 1), "{path}");
            assert_eq!((part.body, part.headers.get("etag").unwrap().to_str().unwrap()), (whole.slice(1..), etag.as_str()));
            let refused = ask(Method::GET, &[("range", &beyond)]).await.expect(416);
            assert_eq!(refused.header("content-range"), format!("bytes */{length}"), "{path}");
            ask(Method::GET, &[("range", "bytes=1-2"), ("if-range", &etag)]).await.expect(206);
            for other in ["\"x\"", weak.as_str(), "Sun, 29 Nov 2026 10:00:00 GMT"] {
                assert_eq!(ask(Method::GET, &[("range", "bytes=1-2"), ("if-range", other)]).await.expect(200).body, whole);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_waits_for_nothing_but_what_it_expects() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let one = push_layer(&app, &acme, "acme/belt", b"one", None).await.to_bytes();
        let two = push_layer(&app, &acme, "acme/belt", b"two", None).await.to_bytes();
        let path = "/v2/acme/belt/manifests/latest";
        let put = async |bytes: &[u8], name: &str, value: &str| {
            send(&app, &acme, Method::PUT, path, &[("content-type", MANIFEST_TYPE), (name, value)], bytes).await
        };
        let tag = |bytes: &[u8]| format!("\"{}\"", Digest::of(bytes));
        put(&one, "if-match", "*").await.expect(412);
        get(&app, &acme, path).await.expect(404);
        put(&one, "if-none-match", "*").await.expect(201);
        put(&two, "if-none-match", "*").await.expect(412);
        put(&two, "if-match", &tag(&two)).await.expect(412);
        assert_eq!(get(&app, &acme, path).await.body, one);
        put(&two, "if-match", &tag(&one)).await.expect(201);
        let delete = async |path: &str, value: &str| send(&app, &acme, Method::DELETE, path, &[("if-match", value)], b"").await;
        delete(path, &tag(&one)).await.expect(412);
        delete(path, &tag(&two)).await.expect(202);
        delete(path, &tag(&two)).await.expect(404);
        let blob = format!("/v2/acme/belt/blobs/{}", Digest::of(b"one"));
        delete(&blob, "\"x\"").await.expect(412);
        get(&app, &acme, &blob).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn wrong_parameters_and_methods_say_what_is_wrong() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let read = filled(&app, &acme).await;
        for list in ["/v2/acme/belt/tags/list", "/v2/_catalog"] {
            for bad in ["abc", "-1", "", "1.5", "+1"] {
                assert_eq!(
                    get(&app, &acme, &format!("{list}?n={bad}")).await.expect(400).code(),
                    "PAGINATION_NUMBER_INVALID",
                    "{list} {bad}"
                );
            }
            let many = get(&app, &acme, &format!("{list}?n=99999999999999999999")).await.expect(200);
            assert_eq!(many.header("link"), "");
            let none = get(&app, &acme, &format!("{list}?n=0")).await.expect(200);
            assert!(none.header("link").is_empty() && String::from_utf8_lossy(&none.body).contains("[]"), "{list}");
        }
        let referrers = &read[4].0;
        assert_eq!(get(&app, &acme, &format!("{referrers}?last=abc")).await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(get(&app, &acme, "/v2/acme/belt/referrers/abc").await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(put_manifest(&app, &acme, "acme/belt", ".bad", b"{}").await.expect(400).code(), "TAG_INVALID");

        let allowed = [
            ("/v2/", "GET, HEAD"),
            ("/v2/_catalog", "GET, HEAD"),
            ("/v2/acme/belt/tags/list", "GET, HEAD"),
            (referrers.as_str(), "GET, HEAD"),
            ("/v2/acme/belt/blobs/uploads/", "POST"),
            ("/v2/acme/belt/blobs/uploads/upl_1", "GET, HEAD, PATCH, PUT, DELETE"),
            (read[0].0.as_str(), "GET, HEAD, DELETE"),
            (read[1].0.as_str(), "GET, HEAD, PUT, DELETE"),
        ];
        for (path, allow) in allowed {
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
                let known = allow.split(", ").any(|known| known == method.as_str());
                // Whoever shows nothing is asked for credentials first, whatever they do.
                let stranger = send(&app, &Actor::Anonymous, method.clone(), path, &[], b"").await.expect(401);
                assert_eq!(stranger.header("docker-distribution-api-version"), "registry/2.0", "{method} {path}");
                assert!(stranger.header("www-authenticate").starts_with("Bearer realm="), "{method} {path}");
                if known {
                    continue;
                }
                let options = method == Method::OPTIONS;
                let answer = send(&app, &acme, method, path, &[], b"").await.expect(if options { 204 } else { 405 });
                assert_eq!(answer.header("allow"), format!("{allow}, OPTIONS"), "{path}");
                assert!(options || answer.code() == "UNSUPPORTED", "{path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn images_of_docker_are_kept_as_they_are() {
    use app_package::oci::{ARTIFACT_TYPE, DOCKER_LIST_TYPE, DOCKER_MANIFEST_TYPE, Index};
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        push_blob(&app, &acme, "acme/belt", b"{}").await;
        push_blob(&app, &acme, "acme/belt", b"layer").await;
        let foreign = Descriptor::of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"elsewhere");
        let image = ImageManifest {
            schema_version: 2,
            media_type: Some(DOCKER_MANIFEST_TYPE.into()),
            artifact_type: None,
            config: Descriptor::of("application/vnd.docker.container.image.v1+json", b"{}"),
            layers: vec![Descriptor::of("application/vnd.docker.image.rootfs.diff.tar.gzip", b"layer"), foreign],
            subject: None,
            annotations: None,
        };
        let put = async |reference: &str, kind: &str, bytes: &[u8]| {
            let path = format!("/v2/acme/belt/manifests/{reference}");
            send(&app, &acme, Method::PUT, &path, &[("content-type", kind)], bytes).await
        };
        let bytes = image.to_bytes();
        let list = Index { media_type: Some(DOCKER_LIST_TYPE.into()), ..Index::of(vec![Descriptor::of(DOCKER_MANIFEST_TYPE, &bytes)]) };
        assert_eq!(put("all", DOCKER_LIST_TYPE, &list.to_bytes()).await.expect(400).code(), "MANIFEST_BLOB_UNKNOWN", "before its image");
        put("1.0.0", DOCKER_MANIFEST_TYPE, &bytes).await.expect(201);
        put("all", DOCKER_LIST_TYPE, &list.to_bytes()).await.expect(201);
        for (tag, kind, bytes) in [("1.0.0", DOCKER_MANIFEST_TYPE, &bytes), ("all", DOCKER_LIST_TYPE, &list.to_bytes())] {
            let answer = get(&app, &acme, &format!("/v2/acme/belt/manifests/{tag}")).await.expect(200);
            assert_eq!((answer.header("content-type"), &answer.body[..]), (kind, &bytes[..]));
        }
        // What it names stays, and one that names what is not there is refused.
        let missing = ImageManifest { layers: vec![Descriptor::of(WEIGHT_TYPE, b"absent")], ..image.clone() };
        assert_eq!(put("2", DOCKER_MANIFEST_TYPE, &missing.to_bytes()).await.expect(400).code(), "MANIFEST_BLOB_UNKNOWN");
        // The type of the body and that of the request are one.
        for (kind, bytes) in [(MANIFEST_TYPE, &bytes), (INDEX_TYPE, &list.to_bytes()), (DOCKER_LIST_TYPE, &bytes)] {
            assert_eq!(put("2", kind, bytes).await.expect(400).code(), "MANIFEST_INVALID", "{kind}");
        }
        let old = put("2", "application/vnd.docker.distribution.manifest.v1+prettyjws", b"{\"schemaVersion\":1}").await.expect(400);
        assert!(String::from_utf8_lossy(&old.body).contains(DOCKER_MANIFEST_TYPE), "it says what is taken");
        // An app is an image of OCI: a node asks for no other.
        let app_like = ImageManifest { media_type: None, artifact_type: Some(ARTIFACT_TYPE.into()), ..image };
        let refused = put("3.0.0", DOCKER_MANIFEST_TYPE, &app_like.to_bytes()).await.expect(400);
        assert!(String::from_utf8_lossy(&refused.body).contains("release-malformed"));
    })
    .await;
}
