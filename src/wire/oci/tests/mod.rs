//! The registry over HTTP requests, as its clients speak, on each backend.

mod bodies;
mod bucket;
mod catalog;
mod chunks;
mod disk;
mod grant;
mod kept;
mod limits;
mod pulls;
mod reads;
mod rights;
mod upkeep;
mod wire;

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
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
use crate::registry::model::{RepositoryName, Visibility};
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

/// Pieces of a body as they come from a socket.
type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// A request with optional headers and body; `who` is what the authentication middleware would have found.
async fn send(app: &App, who: &Actor, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let body = Bytes::copy_from_slice(body);
    send_pieces(app, who, method, path, headers, Box::pin(futures_util::stream::iter([Ok(body)]))).await
}

async fn send_pieces(app: &App, who: &Actor, method: Method, path: &str, headers: &[(&str, &str)], body: Pieces) -> Answer {
    let service = init_service(actix_web::App::new().app_data(Data::new(app.clone())).app_data(pulls()).configure(routes::configure)).await;
    let mut request = TestRequest::default().method(method).uri(path);
    for (name, value) in headers {
        request = request.insert_header((*name, *value));
    }
    let mut request = request.to_request();
    *request.payload() = Payload::from(body);
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
        let manifest =
            app_package::oci::signature_manifest(app_package::oci::SIGNATURE_TYPE, &Descriptor::of(MANIFEST_TYPE, b"subject"), b"envelope");
        let digest = app
            .db
            .write(move |conn| {
                let digest = service::put_manifest_in(conn, &id, manifest.clone().into(), Visibility::Private, now)?;
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
