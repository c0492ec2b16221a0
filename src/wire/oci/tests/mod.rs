//! The registry over HTTP requests, as its clients speak, on each backend.

mod bodies;
mod bucket;
mod pulls;
mod upkeep;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::web::{Bytes, Data};
use actix_web::{FromRequest as _, HttpMessage as _, body::to_bytes};
use app_package::digest::Digest;
use app_package::oci::{Descriptor, EMPTY_BYTES, EMPTY_TYPE, INDEX_TYPE, ImageManifest, MANIFEST_TYPE, WEIGHT_TYPE};
use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use futures_util::Stream;
use serde_json::Value;
use sha2::{Digest as _, Sha512};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::access::{Caller, authorize};
use super::cache::Cache;
use super::rights::Action;
use super::{routes, token};
use crate::base::app::App;
use crate::base::auth::policy::Scope;
use crate::base::auth::{Actor, Role, Via};
use crate::base::error::Error;
use crate::registry::model::RepositoryName;
use crate::registry::service;
use crate::registry::uploads::{self, Chunk};
use crate::server::Server;
use crate::testing::{self, each_backend};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

thread_local! {
    /// What the listeners share. A test has a thread of its own.
    static PULLS: Data<Cache> = Data::new(Cache::default());
}

fn pulls() -> Data<Cache> {
    PULLS.with(Clone::clone)
}

/// Appends a body to an upload that a person has begun, without the wire.
async fn append_to(app: &App, who: &Actor, name: &str, id: &str, chunk: Chunk, body: actix_web::web::Payload) -> Result<u64, Error> {
    let name = RepositoryName::parse(name).unwrap();
    let repository = authorize(app, &Caller::from(who.clone()), &name, Action::Push).await?;
    let upload = uploads::find(app, &who.person()?.user_id, &repository.id, id).await?;
    uploads::append(app, &upload, chunk, body).await.map(|upload| upload.offset())
}

/// A request with optional headers and body; `who` is what the authentication middleware would have found.
async fn send(app: &App, who: &Actor, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let service = init_service(actix_web::App::new().app_data(Data::new(app.clone())).app_data(pulls()).configure(routes::configure)).await;
    let mut request = TestRequest::default().method(method).uri(path).set_payload(body.to_vec());
    for (name, value) in headers {
        request = request.insert_header((*name, *value));
    }
    let request = request.to_request();
    request.extensions_mut().insert(who.clone());
    let response = match try_call_service(&service, request).await {
        Ok(response) => response.into_parts().1,
        Err(e) => e.error_response(),
    };
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: to_bytes(response.into_body()).await.unwrap_or_default() }
}

async fn get(app: &App, who: &Actor, path: &str) -> Answer {
    send(app, who, Method::GET, path, &[], b"").await
}

/// Starts an upload; gives its location.
async fn start(app: &App, who: &Actor, name: &str) -> String {
    let answer = send(app, who, Method::POST, &format!("/v2/{name}/blobs/uploads/"), &[], b"").await.expect(202);
    assert_eq!(answer.header("range"), "0-0");
    assert_eq!(answer.header("x-upload-offset"), "0");
    answer.header("location").to_owned()
}

async fn push_blob(app: &App, who: &Actor, name: &str, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let answer = send(app, who, Method::POST, &format!("/v2/{name}/blobs/uploads/?digest={digest}"), &[], bytes).await.expect(201);
    assert_eq!(answer.header("location"), format!("/v2/{name}/blobs/{digest}"));
    digest
}

/// A manifest of one layer and the empty config, both pushed.
async fn push_layer(app: &App, who: &Actor, name: &str, bytes: &[u8], subject: Option<Descriptor>) -> ImageManifest {
    push_blob(app, who, name, bytes).await;
    push_blob(app, who, name, EMPTY_BYTES).await;
    ImageManifest {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.into()),
        artifact_type: Some("application/vnd.test.thing".into()),
        config: Descriptor::of(EMPTY_TYPE, EMPTY_BYTES),
        layers: vec![Descriptor::of(WEIGHT_TYPE, bytes)],
        subject,
        annotations: Some([("note".to_owned(), "belt 3".to_owned())].into()),
    }
}

async fn put_manifest(app: &App, who: &Actor, name: &str, reference: &str, bytes: &[u8]) -> Answer {
    send(app, who, Method::PUT, &format!("/v2/{name}/manifests/{reference}"), &[("content-type", MANIFEST_TYPE)], bytes).await
}

fn with_scopes(actor: &Actor, scopes: &[Scope]) -> Actor {
    let Actor::Person(person, _) = actor else { panic!("a person") };
    Actor::Person(person.clone(), Via::Token(scopes.to_vec()))
}

#[tokio::test]
async fn push_and_pull_keep_the_exact_bytes() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let mut manifest = String::from_utf8(push_layer(&app, &acme, "acme/belt", b"weights", None).await.to_bytes()).unwrap();
        manifest.insert_str(1, "\"unknown\": [1,  2],\n");
        let answer = put_manifest(&app, &acme, "acme/belt", "1.0.0", manifest.as_bytes()).await.expect(201);
        let digest = Digest::of(manifest.as_bytes());
        assert_eq!(answer.header("docker-content-digest"), digest.as_str());
        assert_eq!(answer.header("location"), format!("/v2/acme/belt/manifests/{digest}"));
        for reference in ["1.0.0".to_owned(), digest.to_string(), digest.as_str().replace(':', "%3A")] {
            let answer = get(&app, &acme, &format!("/v2/acme/belt/manifests/{reference}")).await.expect(200);
            assert_eq!(answer.body, manifest.as_bytes());
            assert_eq!(answer.header("content-type"), MANIFEST_TYPE);
            assert_eq!(answer.header("docker-content-digest"), digest.as_str());
            assert!(!answer.headers.contains_key(header::SET_COOKIE));
        }
        let blob = Digest::of(b"weights");
        let answer = get(&app, &acme, &format!("/v2/acme/belt/blobs/{blob}")).await.expect(200);
        assert_eq!(answer.body, &b"weights"[..]);
        assert_eq!(get(&app, &acme, "/v2/").await.expect(200).header("docker-distribution-api-version"), "registry/2.0");
        assert_eq!(get(&app, &acme, "/v2/acme/belt/manifests/2.0.0").await.expect(404).code(), "MANIFEST_UNKNOWN");
        assert_eq!(get(&app, &acme, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"no"))).await.expect(404).code(), "BLOB_UNKNOWN");
        assert_eq!(get(&app, &acme, "/v2/acme/Belt/tags/list").await.expect(400).code(), "NAME_INVALID");
    })
    .await;
}

#[tokio::test]
async fn ranges_of_a_blob() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let bytes: Vec<u8> = (0..2000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let path = format!("/v2/acme/belt/blobs/{}", push_blob(&app, &acme, "acme/belt", &bytes).await);
        for (range, first, last) in [("500-1499", 500, 1499), ("500-", 500, 1999), ("-500", 1500, 1999), ("1500-99999", 1500, 1999)] {
            let answer = send(&app, &acme, Method::GET, &path, &[("range", &format!("bytes={range}"))], b"").await.expect(206);
            assert_eq!(answer.body, &bytes[first..=last], "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/2000"));
        }
        for range in ["500-0", "2000-", "-0"] {
            let answer = send(&app, &acme, Method::GET, &path, &[("range", &format!("bytes={range}"))], b"").await.expect(416);
            assert_eq!(answer.header("content-range"), "bytes */2000");
        }
        // Another version than the client has begun: everything, not a part.
        let stale = [("range", "bytes=5-"), ("if-range", "\"sha256:old\"")];
        assert_eq!(send(&app, &acme, Method::GET, &path, &stale, b"").await.expect(200).body.len(), 2000);
        let empty = push_blob(&app, &acme, "acme/belt", b"").await;
        assert!(get(&app, &acme, &format!("/v2/acme/belt/blobs/{empty}")).await.expect(200).body.is_empty());
    })
    .await;
}

#[tokio::test]
async fn chunks_come_in_order_and_a_restart_loses_nothing() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let bytes: Vec<u8> = (0..300_000u32).map(|n| u8::try_from(n % 253).unwrap()).collect();
        let at = start(&app, &acme, "acme/belt").await;
        let first = send(&app, &acme, Method::PATCH, &at, &[("content-range", "0-99999")], &bytes[..100_000]).await.expect(202);
        assert_eq!(first.header("range"), "0-99999");
        for bad in ["200000-299999", "0-99999", "bytes 100000-199999/300000"] {
            let refused = send(&app, &acme, Method::PATCH, &at, &[("content-range", bad)], &bytes[100_000..200_000]).await.expect(416);
            assert_eq!(refused.header("range"), "0-99999");
            assert_eq!(refused.header("location"), at);
        }
        let status = get(&app, &acme, &at).await.expect(204);
        assert_eq!((status.header("range"), status.header("x-upload-offset")), ("0-99999", "100000"));
        // A body that is not as long as its range says changes nothing.
        let short =
            send(&app, &acme, Method::PATCH, &at, &[("content-range", "100000-199999")], &bytes[100_000..150_000]).await.expect(400);
        assert_eq!(short.code(), "SIZE_INVALID");
        send(&app, &acme, Method::PATCH, &at, &[("content-range", "100000-149999")], &bytes[100_000..200_000]).await.expect(400);
        assert_eq!(get(&app, &acme, &at).await.header("x-upload-offset"), "100000");
        // The process is started anew: no hash in memory, and bytes on disk that were never acknowledged.
        let id = at.rsplit('/').next().unwrap();
        uploads::forget(id);
        let mut staged = std::fs::OpenOptions::new().append(true).open(app.blobs.staged(id)).unwrap();
        std::io::Write::write_all(&mut staged, b"torn").unwrap();
        drop(staged);
        let streamed = send(&app, &acme, Method::PATCH, &at, &[], &bytes[100_000..200_000]).await.expect(202);
        assert_eq!(streamed.header("range"), "0-199999");
        let digest = Digest::of(&bytes);
        let done =
            send(&app, &acme, Method::PUT, &format!("{at}?digest={digest}"), &[("content-range", "200000-299999")], &bytes[200_000..])
                .await
                .expect(201);
        assert_eq!(done.header("docker-content-digest"), digest.as_str());
        assert_eq!(get(&app, &acme, done.header("location")).await.expect(200).body, bytes);
        assert_eq!(get(&app, &acme, &at).await.expect(404).code(), "BLOB_UPLOAD_UNKNOWN");
        assert!(!app.blobs.staged(id).exists());
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_breaks_keeps_what_had_come() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let at = start(&app, &acme, "acme/belt").await;
        let id = at.rsplit('/').next().unwrap();
        type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, actix_web::error::PayloadError>>>>;
        let pieces: Pieces = Box::pin(futures_util::stream::iter([
            Ok(Bytes::from_static(b"first half, ")),
            Err(actix_web::error::PayloadError::Incomplete(None)),
        ]));
        let mut payload = actix_web::dev::Payload::from(pieces);
        let request = TestRequest::default().to_http_request();
        let payload = actix_web::web::Payload::from_request(&request, &mut payload).await.unwrap();
        let broken = append_to(&app, &acme, "acme/belt", id, Chunk { range: Some((0, 99)), length: Some(100) }, payload).await;
        assert_eq!(broken.unwrap_err().code, "body-broken");
        assert_eq!(get(&app, &acme, &at).await.header("x-upload-offset"), "12");
        let digest = Digest::of(b"first half, second half");
        send(&app, &acme, Method::PUT, &format!("{at}?digest={digest}"), &[], b"second half").await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_digest_stores_nothing() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let claimed = Digest::of(b"other");
        let at = start(&app, &acme, "acme/belt").await;
        send(&app, &acme, Method::PATCH, &at, &[], b"bytes").await.expect(202);
        assert_eq!(send(&app, &acme, Method::PUT, &format!("{at}?digest=sha256:1"), &[], b"").await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(send(&app, &acme, Method::PUT, &at, &[], b"").await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(send(&app, &acme, Method::PUT, &format!("{at}?digest={claimed}"), &[], b"").await.expect(400).code(), "DIGEST_INVALID");
        get(&app, &acme, &at).await.expect(404);
        assert_eq!(app.blobs.size(&claimed).await.unwrap(), None);
        let whole = format!("/v2/acme/belt/blobs/uploads/?digest={claimed}");
        assert_eq!(send(&app, &acme, Method::POST, &whole, &[], b"bytes").await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(std::fs::read_dir(app.blobs.staged("x").parent().unwrap()).unwrap().count(), 0);
        // The other algorithm of the spec is asked for at the end, and answered in kind.
        let long = format!("sha512:{}", hex::encode(Sha512::digest(b"bytes")));
        let at = start(&app, &acme, "acme/belt").await;
        let done = send(&app, &acme, Method::PUT, &format!("{at}?digest={long}"), &[], b"bytes").await.expect(201);
        assert_eq!(done.header("docker-content-digest"), long);
        assert_eq!(get(&app, &acme, done.header("location")).await.expect(200).body, &b"bytes"[..]);
    })
    .await;
}

#[tokio::test]
async fn only_the_one_who_began_an_upload_goes_on_with_it() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let organization = acme.person().unwrap().organization_id.clone();
        let colleague = testing::member(&app, &organization, Role::Member, "two@acme.example").await;
        let bolt = testing::vendor(&app, "bolt").await;
        let at = start(&app, &acme, "acme/belt").await;
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let path = if method == Method::PUT { format!("{at}?digest={}", Digest::of(b"x")) } else { at.clone() };
            let code = send(&app, &colleague, method.clone(), &path, &[], b"x").await.expect(404);
            if method != Method::HEAD {
                assert_eq!(code.code(), "BLOB_UPLOAD_UNKNOWN", "{method}");
            }
            assert_eq!(send(&app, &bolt, method, &path, &[], b"x").await.expect(404).code(), "NAME_UNKNOWN");
        }
        // Nor does it lead into another repository of the same person.
        start(&app, &acme, "acme/other").await;
        send(&app, &acme, Method::PATCH, &at.replace("acme/belt", "acme/other"), &[], b"x").await.expect(404);
        send(&app, &acme, Method::DELETE, &at, &[], b"").await.expect(204);
        get(&app, &acme, &at).await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn blobs_are_reached_through_a_repository_only() {
    each_backend(|app| async move {
        let (acme, bolt) = (testing::vendor(&app, "acme").await, testing::vendor(&app, "bolt").await);
        let digest = push_blob(&app, &acme, "acme/belt", b"secret weights").await;
        push_blob(&app, &bolt, "bolt/pump", b"own").await;
        // Foreign: not by its repository, not by one's own, not by mount.
        assert_eq!(get(&app, &bolt, &format!("/v2/acme/belt/blobs/{digest}")).await.expect(404).code(), "NAME_UNKNOWN");
        assert_eq!(get(&app, &bolt, &format!("/v2/bolt/pump/blobs/{digest}")).await.expect(404).code(), "BLOB_UNKNOWN");
        for mount in [format!("mount={digest}&from=acme/belt"), format!("mount={digest}"), format!("mount={digest}&from=no/such")] {
            let answer = send(&app, &bolt, Method::POST, &format!("/v2/bolt/pump/blobs/uploads/?{mount}"), &[], b"").await.expect(202);
            assert!(answer.header("location").contains("/blobs/uploads/upl_"));
        }
        get(&app, &bolt, &format!("/v2/bolt/pump/blobs/{digest}")).await.expect(404);
        // Own: with and without a source.
        for (name, mount) in [("acme/one", format!("mount={digest}&from=acme/belt")), ("acme/two", format!("mount={digest}"))] {
            let answer = send(&app, &acme, Method::POST, &format!("/v2/{name}/blobs/uploads/?{mount}"), &[], b"").await.expect(201);
            assert_eq!(get(&app, &acme, answer.header("location")).await.expect(200).body, &b"secret weights"[..]);
        }
        // A manifest cannot name what its repository does not hold.
        let manifest = ImageManifest {
            layers: vec![Descriptor::of(WEIGHT_TYPE, b"secret weights")],
            ..push_layer(&app, &bolt, "bolt/pump", b"l", None).await
        };
        assert_eq!(put_manifest(&app, &bolt, "bolt/pump", "1.0.0", &manifest.to_bytes()).await.expect(400).code(), "MANIFEST_BLOB_UNKNOWN");
        // Nobody pushes under another's slug.
        assert_eq!(send(&app, &bolt, Method::POST, "/v2/acme/new/blobs/uploads/", &[], b"").await.expect(404).code(), "NAME_UNKNOWN");
    })
    .await;
}

#[tokio::test]
async fn versions_stay_and_latest_floats() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let one = push_layer(&app, &acme, "acme/belt", b"one", None).await.to_bytes();
        let two = push_layer(&app, &acme, "acme/belt", b"two", None).await.to_bytes();
        for tag in ["1.0.0", "latest", "10.0.0", "2.0.0", "Zinc", "alpha"] {
            put_manifest(&app, &acme, "acme/belt", tag, &one).await.expect(201);
        }
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &one).await.expect(201);
        assert_eq!(put_manifest(&app, &acme, "acme/belt", "1.0.0", &two).await.expect(409).code(), "DENIED");
        assert_eq!(get(&app, &acme, &format!("/v2/acme/belt/manifests/{}", Digest::of(&two))).await.status, 404, "refused whole");
        put_manifest(&app, &acme, "acme/belt", "latest", &two).await.expect(201);
        assert_eq!(get(&app, &acme, "/v2/acme/belt/manifests/latest").await.body, two);
        // Lists are in ASCII order, whatever the database's collation.
        let names = |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).unwrap()["tags"].to_string();
        let all = get(&app, &acme, "/v2/acme/belt/tags/list").await.expect(200);
        assert_eq!(names(&all), r#"["1.0.0","10.0.0","2.0.0","Zinc","alpha","latest"]"#);
        let page = get(&app, &acme, "/v2/acme/belt/tags/list?n=2&last=1.0.0").await.expect(200);
        assert_eq!(names(&page), r#"["10.0.0","2.0.0"]"#);
        assert_eq!(page.header("link"), "</v2/acme/belt/tags/list?n=2&last=2%2E0%2E0>; rel=\"next\"");
        let none = get(&app, &acme, "/v2/acme/belt/tags/list?n=0").await.expect(200);
        assert_eq!((names(&none).as_str(), none.header("link")), ("[]", ""));
        assert_eq!(get(&app, &acme, "/v2/acme/belt/tags/list?last=alpha").await.header("link"), "");
        // Removing a tag leaves the manifest; removing the manifest takes its tags.
        send(&app, &acme, Method::DELETE, "/v2/acme/belt/manifests/alpha", &[], b"").await.expect(202);
        get(&app, &acme, "/v2/acme/belt/manifests/alpha").await.expect(404);
        get(&app, &acme, "/v2/acme/belt/manifests/2.0.0").await.expect(200);
        send(&app, &acme, Method::DELETE, &format!("/v2/acme/belt/manifests/{}", Digest::of(&one)), &[], b"").await.expect(202);
        get(&app, &acme, "/v2/acme/belt/manifests/2.0.0").await.expect(404);
        get(&app, &acme, "/v2/acme/belt/manifests/latest").await.expect(200);
        send(&app, &acme, Method::DELETE, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"one")), &[], b"").await.expect(202);
        send(&app, &acme, Method::DELETE, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"one")), &[], b"").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn manifests_are_checked_and_referrers_found() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let subject = push_layer(&app, &acme, "acme/belt", b"subject", None).await.to_bytes();
        let descriptor = Descriptor::of(MANIFEST_TYPE, &subject);
        let path = format!("/v2/acme/belt/referrers/{}", descriptor.digest);
        let none = get(&app, &acme, &path).await.expect(200);
        assert_eq!(none.header("content-type"), INDEX_TYPE);
        assert_eq!(serde_json::from_slice::<Value>(&none.body).unwrap()["manifests"], serde_json::json!([]));
        // The subject may come later.
        let referrer = push_layer(&app, &acme, "acme/belt", b"signature", Some(descriptor.clone())).await.to_bytes();
        let answer = put_manifest(&app, &acme, "acme/belt", Digest::of(&referrer).as_str(), &referrer).await.expect(201);
        assert_eq!(answer.header("oci-subject"), descriptor.digest.as_str());
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &subject).await.expect(201);
        let found = get(&app, &acme, &format!("{path}?artifactType=application/vnd.test.thing")).await.expect(200);
        assert_eq!(found.header("oci-filters-applied"), "artifactType");
        let list = serde_json::from_slice::<Value>(&found.body).unwrap();
        assert_eq!(list["manifests"][0]["digest"], Digest::of(&referrer).as_str());
        assert_eq!(list["manifests"][0]["size"], referrer.len());
        assert_eq!(list["manifests"][0]["artifactType"], "application/vnd.test.thing");
        assert_eq!(list["manifests"][0]["annotations"]["note"], "belt 3");
        let other = get(&app, &acme, &format!("{path}?artifactType=application/other")).await;
        assert_eq!(serde_json::from_slice::<Value>(&other.body).unwrap()["manifests"].as_array().unwrap().len(), 0);
        get(&app, &acme, "/v2/acme/belt/referrers/sha256:bad").await.expect(400);
        get(&app, &acme, &format!("/v2/acme/absent/referrers/{}", descriptor.digest)).await.expect(200);
        // An index names manifests; layers that are fetched elsewhere are not asked for; no layers are fine.
        let index = app_package::oci::Index::of(vec![descriptor.clone()]).to_bytes();
        send(&app, &acme, Method::PUT, "/v2/acme/belt/manifests/all", &[("content-type", INDEX_TYPE)], &index).await.expect(201);
        assert_eq!(get(&app, &acme, "/v2/acme/belt/manifests/all").await.header("content-type"), INDEX_TYPE);
        let base = ImageManifest::parse(&subject).unwrap();
        let foreign = Descriptor::of("application/vnd.oci.image.layer.nondistributable.v1.tar", b"elsewhere");
        let fine = [ImageManifest { layers: vec![foreign], ..base.clone() }, ImageManifest { layers: vec![], ..base.clone() }];
        for manifest in fine {
            put_manifest(&app, &acme, "acme/belt", "latest", &manifest.to_bytes()).await.expect(201);
        }
        let wrong_size = ImageManifest { layers: vec![Descriptor { size: 3, ..Descriptor::of(WEIGHT_TYPE, b"subject") }], ..base };
        assert_eq!(put_manifest(&app, &acme, "acme/belt", "latest", &wrong_size.to_bytes()).await.expect(400).code(), "SIZE_INVALID");
        let missing = app_package::oci::Index::of(vec![Descriptor::of(MANIFEST_TYPE, b"absent")]).to_bytes();
        let answer =
            send(&app, &acme, Method::PUT, "/v2/acme/belt/manifests/all", &[("content-type", INDEX_TYPE)], &missing).await.expect(400);
        assert_eq!(answer.code(), "MANIFEST_BLOB_UNKNOWN");
        for bad in [&b"{"[..], b"[]", b"{\"schemaVersion\":1}"] {
            assert_eq!(put_manifest(&app, &acme, "acme/belt", "latest", bad).await.expect(400).code(), "MANIFEST_INVALID");
        }
        assert_eq!(put_manifest(&app, &acme, "acme/belt", "sha256:bad", &subject).await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(put_manifest(&app, &acme, "acme/belt", Digest::of(b"x").as_str(), &subject).await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(
            put_manifest(&app, &acme, "acme/belt", "latest", &vec![b' '; 4 * 1024 * 1024 + 1]).await.expect(413).code(),
            "SIZE_INVALID"
        );
    })
    .await;
}

#[tokio::test]
async fn strangers_are_challenged_and_tokens_carry_rights() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let digest = push_blob(&app, &acme, "acme/belt", b"weights").await;
        let nobody = Actor::Anonymous;
        let host = ("host", "market.example:8080");
        let answer = send(&app, &nobody, Method::GET, "/v2/", &[host], b"").await.expect(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"http://market.example:8080/token\",service=\"pithead\"");
        assert_eq!(answer.code(), "UNAUTHORIZED");
        let blob = format!("/v2/acme/belt/blobs/{digest}");
        let answer = send(&app, &nobody, Method::GET, &blob, &[host], b"").await.expect(401);
        assert!(answer.header("www-authenticate").ends_with(",scope=\"repository:acme/belt:pull\""));
        let answer = send(&app, &nobody, Method::POST, "/v2/acme/belt/blobs/uploads/", &[], b"").await.expect(401);
        assert!(answer.header("www-authenticate").ends_with(",scope=\"repository:acme/belt:pull,push\""));
        get(&app, &nobody, "/v2/acme/absent/tags/list").await.expect(401);
        get(&app, &nobody, "/v2/nothing").await.expect(401);

        // Asked for pull, held more: all of it, since some clients keep their first token.
        let token_of = |answer: Answer| serde_json::from_slice::<Value>(&answer.body).unwrap()["token"].as_str().unwrap().to_owned();
        let ask = "/token?service=pithead&scope=repository:acme/belt:pull&scope=repository:bolt/pump:*";
        let token = token_of(get(&app, &acme, ask).await.expect(200));
        let claims = token::verify(&app, &pulls(), &token).unwrap();
        assert_eq!(claims.access.len(), 1);
        assert_eq!(claims.access[0].actions, ["pull", "push", "delete"]);
        assert_eq!((claims.aud.as_str(), claims.exp - claims.iat), ("pithead", 900));
        let bearer = format!("Bearer {token}");
        assert_eq!(send(&app, &nobody, Method::GET, &blob, &[("authorization", &bearer)], b"").await.expect(200).body, &b"weights"[..]);
        send(&app, &nobody, Method::POST, "/v2/acme/belt/blobs/uploads/", &[("authorization", &bearer)], b"").await.expect(202);
        // A name that the token does not hold, but its owner does: a wider one can be had.
        let answer =
            send(&app, &nobody, Method::POST, "/v2/acme/other/blobs/uploads/", &[("authorization", &bearer)], b"").await.expect(401);
        assert!(answer.header("www-authenticate").contains("error=\"insufficient_scope\""));

        // Scopes of an API token narrow the registry token too.
        let reader = with_scopes(&acme, &[Scope::Pull]);
        let narrow = token_of(get(&app, &reader, ask).await.expect(200));
        assert_eq!(token::verify(&app, &pulls(), &narrow).unwrap().access[0].actions, ["pull"]);
        assert_eq!(send(&app, &reader, Method::POST, "/v2/acme/belt/blobs/uploads/", &[], b"").await.expect(403).code(), "DENIED");
        assert_eq!(token::verify(&app, &pulls(), &token_of(get(&app, &nobody, ask).await.expect(200))).unwrap().access, []);

        // Forged, changed, of another key or kind, too old: all the same.
        let parts: Vec<&str> = token.split('.').collect();
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        for bad in
            [format!("{none}.{}.", parts[1]), format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86)), "x".into(), "x".repeat(20_000)]
        {
            let answer = send(&app, &acme, Method::GET, &blob, &[("authorization", &format!("Bearer {bad}"))], b"").await.expect(401);
            assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
        }
        app.clock.advance(TimeDelta::minutes(16));
        send(&app, &nobody, Method::GET, &blob, &[("authorization", &bearer)], b"").await.expect(401);
        // Bad credentials at the token endpoint are an error, missing rights are not.
        send(&app, &nobody, Method::GET, ask, &[("authorization", "Basic YTpi")], b"").await.expect(401);
    })
    .await;
}

#[tokio::test]
async fn a_session_needs_its_csrf_value_to_push() {
    each_backend(|app| async move {
        let Actor::Person(person, _) = testing::vendor(&app, "acme").await else { panic!("a person") };
        let session = Actor::Person(person, Via::Session { csrf: "secret".into(), token_hash: "h".into() });
        let path = "/v2/acme/belt/blobs/uploads/";
        for headers in [&[][..], &[("x-csrf-token", "wrong")]] {
            send(&app, &session, Method::POST, path, headers, b"").await.expect(403);
        }
        send(&app, &session, Method::POST, path, &[("x-csrf-token", "secret")], b"").await.expect(202);
        get(&app, &session, "/v2/acme/belt/tags/list").await.expect(200);
    })
    .await;
}

static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A listed app `acme/belt`, a release of a digest in a state, and a licence of an organisation.
async fn release_and_license(app: &App, vendor: &Actor, buyer: &Actor, digest: &Digest) {
    let (v, b) = (vendor.person().unwrap().clone(), buyer.person().unwrap().clone());
    let (digest, n) = (digest.to_string(), SERIAL.fetch_add(1, Ordering::SeqCst));
    let at = "'2025-12-01 00:00:00'";
    let sql = format!(
        "INSERT INTO apps (id, organization_id, slug, title_zh, title_en, summary_zh, summary_en, specialty, scenario, input, safety, state, deployments, created_at, updated_at) \
         SELECT 'app_1', '{vo}', 'belt', 't', 't', 's', 's', specialty, slug, 'image', FALSE, 'listed', 0, {at}, {at} FROM scenarios ORDER BY slug LIMIT 1;
         INSERT INTO plans (id, app_id, kind, price_fen, trial_days, trial_nodes, active, created_at) VALUES ('pln_1', 'app_1', 'perpetual', 1, 0, 0, TRUE, {at});
         INSERT INTO releases (id, app_id, version, digest, manifest, size_bytes, state, created_by, created_at, updated_at) \
         VALUES ('rel_{n}', 'app_1', '1.0.{n}', '{digest}', 'x', 1, 'published', '{vu}', {at}, {at});
         UPDATE manifests SET visibility = 'public' WHERE digest = '{digest}';
         INSERT INTO orders (id, number, organization_id, vendor_id, app_id, plan_id, plan_kind, unit_price_fen, trial_days, nodes, amount_fen, reference, state, placed_by, placed_at, updated_at) \
         VALUES ('ord_1', 'n1', '{bo}', '{vo}', 'app_1', 'pln_1', 'perpetual', 1, 0, 1, 1, 'r1', 'paid', '{bu}', {at}, {at});
         INSERT INTO licenses (id, order_id, organization_id, vendor_id, app_id, plan_kind, versions, node_limit, nodes_active, starts_at, ends_at, grace_days, enforcement, safety, state, created_at, updated_at) \
         VALUES ('lic_1', 'ord_1', '{bo}', '{vo}', 'app_1', 'perpetual', '*', 1, 0, {at}, '2026-01-02 00:00:00', 1, 'block', FALSE, 'active', {at}, {at});",
        vo = v.organization_id, vu = v.user_id, bo = b.organization_id, bu = b.user_id,
    );
    app.db.write(move |conn| Ok(conn.batch_execute(&sql)?)).await.unwrap();
}

#[tokio::test]
async fn a_licence_opens_published_releases_and_nothing_else() {
    each_backend(|app| async move {
        let (acme, mine, other) =
            (testing::vendor(&app, "acme").await, testing::operator(&app, "mine").await, testing::operator(&app, "other").await);
        let moderator = testing::platform(&app, Role::Moderator).await;
        let finance = testing::platform(&app, Role::Finance).await;
        let published = push_layer(&app, &acme, "acme/belt", b"published", None).await.to_bytes();
        let draft = push_layer(&app, &acme, "acme/belt", b"draft", None).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "1.0.0", &published).await.expect(201);
        put_manifest(&app, &acme, "acme/belt", "2.0.0", &draft).await.expect(201);
        let digest = Digest::of(&published);
        let signature =
            push_layer(&app, &acme, "acme/belt", b"signature", Some(Descriptor::of(MANIFEST_TYPE, &published))).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", Digest::of(&signature).as_str(), &signature).await.expect(201);
        get(&app, &mine, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
        release_and_license(&app, &acme, &mine, &digest).await;

        let node = testing::node(&app, &mine).await;
        for buyer in [&mine, &node] {
            get(&app, buyer, "/v2/acme/belt/manifests/1.0.0").await.expect(200);
            get(&app, buyer, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"published"))).await.expect(200);
            let list = get(&app, buyer, &format!("/v2/acme/belt/referrers/{digest}")).await.expect(200);
            assert_eq!(serde_json::from_slice::<Value>(&list.body).unwrap()["manifests"].as_array().unwrap().len(), 1);
            get(&app, buyer, &format!("/v2/acme/belt/manifests/{}", Digest::of(&signature))).await.expect(200);
            // What is not published is not there.
            get(&app, buyer, "/v2/acme/belt/manifests/2.0.0").await.expect(404);
            let tags = get(&app, buyer, "/v2/acme/belt/tags/list").await.expect(200);
            assert_eq!(serde_json::from_slice::<Value>(&tags.body).unwrap()["tags"], serde_json::json!(["1.0.0"]));
            assert_eq!(send(&app, buyer, Method::POST, "/v2/acme/belt/blobs/uploads/", &[], b"").await.expect(403).code(), "DENIED");
        }
        get(&app, &other, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
        get(&app, &finance, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
        get(&app, &moderator, "/v2/acme/belt/manifests/2.0.0").await.expect(200);

        // A node's token works for that node only.
        let issued = token::issue(&app, &node, &["repository:acme/belt:pull".into()]).await.unwrap().token;
        let bearer = format!("Bearer {issued}");
        send(&app, &node, Method::GET, "/v2/acme/belt/manifests/1.0.0", &[("authorization", &bearer)], b"").await.expect(200);
        let thief = Actor::Node { node_id: "nod_2".into(), organization_id: "org_x".into() };
        send(&app, &thief, Method::GET, "/v2/acme/belt/manifests/1.0.0", &[("authorization", &bearer)], b"").await.expect(401);

        // Nor does it outlive the node.
        let Actor::Node { node_id, .. } = &node else { panic!("no node") };
        crate::fleet::service::remove_node(&app, &mine, node_id).await.unwrap();
        send(&app, &Actor::Anonymous, Method::GET, "/v2/acme/belt/manifests/1.0.0", &[("authorization", &bearer)], b"").await.expect(401);

        // What customers rely on cannot be taken away.
        for path in [
            "manifests/1.0.0".to_owned(),
            format!("manifests/{digest}"),
            format!("manifests/{}", Digest::of(&signature)),
            format!("blobs/{}", Digest::of(b"published")),
        ] {
            send(&app, &acme, Method::DELETE, &format!("/v2/acme/belt/{path}"), &[], b"").await.expect(409);
        }
        send(&app, &acme, Method::DELETE, "/v2/acme/belt/manifests/2.0.0", &[], b"").await.expect(202);

        // The licence ends on the second, its grace a day later.
        app.clock.advance(TimeDelta::hours(47));
        get(&app, &mine, "/v2/acme/belt/manifests/1.0.0").await.expect(200);
        app.clock.advance(TimeDelta::hours(2));
        get(&app, &mine, "/v2/acme/belt/manifests/1.0.0").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn uploads_that_nobody_finishes_end() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let old = start(&app, &acme, "acme/belt").await;
        send(&app, &acme, Method::PATCH, &old, &[], b"half").await.expect(202);
        app.clock.advance(TimeDelta::days(4));
        let young = start(&app, &acme, "acme/belt").await;
        app.clock.advance(TimeDelta::days(4));
        get(&app, &acme, &old).await.expect(404);
        testing::drain_jobs(&app).await;
        let staged = app.blobs.staged(old.rsplit('/').next().unwrap());
        assert!(!staged.exists());
        get(&app, &acme, &young).await.expect(204);
        app.clock.advance(TimeDelta::days(4));
        testing::drain_jobs(&app).await;
        get(&app, &acme, &young).await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn other_slices_store_and_find_manifests() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let organization = acme.person().unwrap().organization_id.clone();
        let now = app.clock.now();
        let id = app.db.write(move |conn| service::ensure_repository(conn, &organization, "acme/belt", now)).await.unwrap().id;
        let stranger = app.db.write(move |conn| service::ensure_repository(conn, "org_other", "acme/belt", now)).await;
        assert_eq!(stranger.unwrap_err().code, "name-unknown");
        let (blobs, into) = (app.blobs.clone(), id.clone());
        app.db
            .write(move |conn| {
                service::store_blob_in(conn, &blobs, &into, b"envelope", now)?;
                service::store_blob_in(conn, &blobs, &into, EMPTY_BYTES, now)
            })
            .await
            .unwrap();
        let manifest = app_package::oci::signature_manifest(&Descriptor::of(MANIFEST_TYPE, b"subject"), b"envelope");
        let digest = app
            .db
            .write(move |conn| {
                let digest = service::put_manifest_in(conn, &id, MANIFEST_TYPE, &manifest, now)?;
                assert_eq!(service::find_manifest(conn, &id, digest.as_str())?.unwrap().content, manifest);
                assert!(service::find_manifest(conn, &id, "latest")?.is_none());
                Ok(digest)
            })
            .await
            .unwrap();
        let name = RepositoryName::parse("acme/belt").unwrap();
        let repository = authorize(&app, &Caller::from(acme.clone()), &name, Action::Pull).await.unwrap();
        assert_eq!(repository.name, "acme/belt");
        get(&app, &acme, &format!("/v2/acme/belt/manifests/{digest}")).await.expect(200);
    })
    .await;
}

/// One request over a real socket; gives the head and the body.
async fn wire(address: std::net::SocketAddr, request: &[u8]) -> (String, Vec<u8>) {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase(), bytes[end..].to_vec())
}

/// What only a real server shows: HEAD with a length and no body, a chunked body, a large one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_wire() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let token = token::issue(&app, &acme, &["repository:acme/belt:push".into()]).await.unwrap().token;
        let server = Server::start(app.clone()).await.unwrap();
        let host = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
        let (head, _) =
            wire(server.address, format!("POST /v2/acme/belt/blobs/uploads/ HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n").as_bytes()).await;
        assert!(head.starts_with("http/1.1 202"), "{head}");
        let location = head.lines().find_map(|l| l.strip_prefix("location: ")).unwrap().to_owned();
        // Docker's way: one PATCH without range or length.
        let bytes: Vec<u8> = (0..20_000_000u32).map(|n| u8::try_from(n % 241).unwrap()).collect();
        let mut request = format!("PATCH {location} HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for piece in bytes.chunks(1_000_000) {
            request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            request.extend_from_slice(piece);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let (head, _) = wire(server.address, &request).await;
        assert!(head.starts_with("http/1.1 202") && head.contains("range: 0-19999999\r\n"), "{head}");
        let digest = Digest::of(&bytes);
        let (head, _) =
            wire(server.address, format!("PUT {location}?digest={digest} HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n").as_bytes()).await;
        assert!(head.starts_with("http/1.1 201"), "{head}");
        let blob = format!("/v2/acme/belt/blobs/{digest}");
        let (head, body) = wire(server.address, format!("HEAD {blob} HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 20000000\r\n") && body.is_empty(), "{head}");
        let (head, body) = wire(server.address, format!("GET {blob} HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        assert!(head.contains("content-length: 20000000\r\n") && !head.contains("set-cookie") && body == bytes, "{head}");
        let manifest = push_layer(&app, &acme, "acme/belt", b"l", None).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "latest", &manifest).await.expect(201);
        let (head, body) = wire(server.address, format!("HEAD /v2/acme/belt/manifests/latest HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        assert!(head.contains(&format!("content-length: {}\r\n", manifest.len())) && body.is_empty(), "{head}");
        assert!(head.contains(&format!("content-type: {MANIFEST_TYPE}\r\n")), "{head}");
        server.stop().await;
    })
    .await;
}
