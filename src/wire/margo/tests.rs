//! The endpoints as a node sees them, on both backends: exact bytes, versions, conditional requests, refusals.

use std::io::Read as _;

use actix_web::dev::Service as _;
use actix_web::http::{StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service, read_body};
use actix_web::web::{Bytes, Data};
use actix_web::{App as Actix, HttpMessage as _};
use app_package::digest::Digest;
use app_package::dsse::{Envelope, ReleaseStatement};
use app_package::margo::{ApplicationDeployment, StateManifest};
use app_package::oci::ImageManifest;
use diesel::prelude::*;
use serde_json::{Map, Value, json};

use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::Conn;
use crate::base::db::schema::{deployment_events, deployments, node_documents, nodes};
use crate::base::error::Kind;
use crate::catalog::model::PlanKind;
use crate::fleet::model::{Deployment, DeploymentState};
use crate::fleet::service::{self, DeployInput};
use crate::license::model::{License, LicenseDecision};
use crate::registry;
use crate::server::middleware::errors::errors;
use crate::testing::shop::{Shop, license, publish, shop};
use crate::testing::{self, drain_jobs, each_backend};

struct Answer {
    status: StatusCode,
    etag: String,
    cache: String,
    vary: String,
    content_type: String,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.content_type, "application/problem+json", "{} {:?}", self.status, self.body);
        let json = self.json();
        let kind = json["type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
        assert_eq!(json["status"], self.status.as_u16());
        (self.status.as_u16(), kind, json["code"].as_str().unwrap().to_owned())
    }
}

async fn call(app: &App, actor: &Actor, request: TestRequest) -> Answer {
    let service = init_service(Actix::new().app_data(Data::new(app.clone())).wrap(from_fn(errors)).configure(super::configure)).await;
    let request = request.to_request();
    request.extensions_mut().insert(actor.clone());
    let response = service.call(request).await.unwrap();
    let text = |name: header::HeaderName| response.headers().get(name).map_or_else(String::new, |v| v.to_str().unwrap().to_owned());
    let (etag, cache, content_type) = (text(header::ETAG), text(header::CACHE_CONTROL), text(header::CONTENT_TYPE));
    Answer { status: response.status(), etag, cache, vary: text(header::VARY), content_type, body: read_body(response).await }
}

async fn get(app: &App, actor: &Actor, uri: &str) -> Answer {
    call(app, actor, TestRequest::get().uri(uri)).await
}

async fn manifest(app: &App, actor: &Actor) -> StateManifest {
    let answer = get(app, actor, "/api/v1/deployments").await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.etag, format!("\"{}\"", Digest::of(&answer.body)));
    serde_json::from_slice(&answer.body).unwrap()
}

/// An enrolled node as an actor, with its certificate in DER.
async fn node(app: &App, operator: &Actor, site: &str, name: &str) -> (Actor, Vec<u8>) {
    use rustls_pki_types::pem::PemObject as _;
    let issued = service::create_node(app, operator, site, name).await.unwrap();
    let enrolled = service::enroll(app, issued.code, testing::csr(), "1.0.0".into()).await.unwrap();
    drain_jobs(app).await;
    let der = rustls_pki_types::CertificateDer::from_pem_slice(enrolled.issued.chain_pem.as_bytes()).unwrap().to_vec();
    (Actor::Node { node_id: enrolled.node_id, organization_id: enrolled.organization_id }, der)
}

fn id_of(actor: &Actor) -> &str {
    let Actor::Node { node_id, .. } = actor else { panic!("no node") };
    node_id
}

async fn deploy(app: &App, shop: &Shop, license: &License, release_id: &str, node: &Actor) -> String {
    let input = DeployInput {
        release_id: release_id.to_owned(),
        license_id: license.id.clone(),
        node_ids: vec![id_of(node).to_owned()],
        parameters: Map::new(),
    };
    let ids = service::deploy(app, &shop.operator, input).await.unwrap();
    drain_jobs(app).await;
    ids[0].clone()
}

async fn deployment(app: &App, id: &str) -> Deployment {
    let id = id.to_owned();
    app.db.read(move |conn| Ok(deployments::table.find(id).select(Deployment::as_select()).first(conn)?)).await.unwrap()
}

async fn events(app: &App, id: &str) -> Vec<String> {
    let id = id.to_owned();
    let of = move |conn: &mut crate::base::db::Conn| {
        Ok(deployment_events::table
            .filter(deployment_events::deployment_id.eq(id))
            .order(deployment_events::id)
            .select(deployment_events::state)
            .load(conn)?)
    };
    app.db.read(of).await.unwrap()
}

/// The n-th version of a node's state: they begin at the time of the first, so that a restored server never falls behind its nodes.
fn version(n: u64) -> u64 {
    1_767_225_600 + n - 1
}

fn status(id: &str, adopted: u64, state: &str) -> Value {
    json!({"deploymentId": id, "adoptedManifestVersion": adopted, "status": {"state": state}, "components": [{"name": "belt", "state": state}]})
}

async fn post(app: &App, actor: &Actor, id: &str, body: Value) -> Answer {
    call(app, actor, TestRequest::post().uri(&format!("/api/v1/deployments/{id}/status")).set_payload(body.to_string())).await
}

#[actix_web::test]
async fn bytes_fit_their_digests_and_versions_grow_only_on_change() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let site = service::create_site(&app, &shop.operator, "一号井").await.unwrap();
        let (node, _) = node(&app, &shop.operator, &site, "主运 1").await;
        let empty = manifest(&app, &node).await;
        assert_eq!((empty.manifest_version, empty.bundle.is_none(), empty.deployments.len()), (version(1), true, 0));

        let license = license(&app, &shop, PlanKind::Subscription, 2).await;
        let id = deploy(&app, &shop, &license, &shop.listing.release_id, &node).await;
        let first = manifest(&app, &node).await;
        assert_eq!((first.manifest_version, first.deployments.len()), (version(2), 1));
        let listed = &first.deployments[0];
        let answer = get(&app, &node, &listed.url).await;
        assert_eq!((answer.status.as_u16(), answer.content_type.as_str()), (200, "application/yaml"));
        assert_eq!((answer.cache.as_str(), answer.vary.as_str()), ("private, max-age=31536000, immutable", "Accept-Encoding"));
        assert_eq!(Digest::of(&answer.body), listed.digest);
        let document: ApplicationDeployment = serde_yaml_ng::from_slice(&answer.body).unwrap();
        let pithead = document.spec.pithead.unwrap();
        assert_eq!((document.id.as_deref(), pithead.place.as_str()), (Some(id.as_str()), "一号井 · 主运 1"));
        assert_eq!(pithead.release.repository, "acme/belt");
        // The document names the platform's signature, so that the node need not look for it.
        let named = pithead.signature.clone().unwrap();
        let find = move |conn: &mut Conn| {
            let repository = registry::service::repository(conn, "acme/belt")?.unwrap();
            registry::service::find_manifest(conn, &repository.id, named.as_str())
        };
        let signature = ImageManifest::parse(&app.db.read(find).await.unwrap().unwrap().content).unwrap();
        let envelope = app.blobs.read_small(&signature.layers[0].digest, 65_536).await.unwrap();
        let statement = ReleaseStatement::verify(&Envelope::parse(&envelope).unwrap(), &app.keys.get().approve.set).unwrap();
        assert_eq!(statement.digest, pithead.release.digest);
        let claims = app_package::license::verify(&pithead.license, &app.keys.get().license.set).unwrap();
        assert_eq!((claims.nodes, claims.digests), (vec![app.ca.node_id(id_of(&node))], vec![pithead.release.digest.to_string()]));
        let present = deployment(&app, &id).await;
        assert_eq!((present.digest.as_str(), present.target_version), (listed.digest.as_str(), i64::try_from(version(2)).unwrap()));

        let bundle = first.bundle.clone().unwrap();
        let archive = get(&app, &node, &bundle.url).await;
        assert_eq!(Digest::of(&archive.body), bundle.digest);
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&archive.body[..]));
        let mut files = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.push((entry.path().unwrap().display().to_string(), Digest::of(&content)));
        }
        assert_eq!(files, [(format!("{id}.yaml"), listed.digest.clone())]);

        // Time goes by, the job runs again: nothing changes.
        app.clock.advance(chrono::TimeDelta::hours(1));
        crate::fleet::margo::desired::rebuild(&app, id_of(&node)).await.unwrap();
        assert_eq!(manifest(&app, &node).await, first);

        let mut last = 2;
        for version in ["1.1.0", "1.2.0", "1.3.0", "1.4.0"] {
            let newer = publish(&app, &shop, version).await;
            app.clock.advance(chrono::TimeDelta::seconds(1));
            assert_eq!(deploy(&app, &shop, &license, &newer, &node).await, id);
            let next = manifest(&app, &node).await;
            assert!(next.manifest_version > last);
            last = next.manifest_version;
        }
        let kept: i64 = app
            .db
            .read(|conn| Ok(node_documents::table.filter(node_documents::kind.eq("manifest")).count().get_result(conn)?))
            .await
            .unwrap();
        assert_eq!(kept, 3);
        assert_eq!(get(&app, &node, &listed.url).await.problem(), (404, "deployment-not-found".into(), "deployment-not-found".into()));
        assert_eq!(get(&app, &node, &bundle.url).await.problem(), (404, "invalid-bundle".into(), "bundle-not-found".into()));
    })
    .await;
}

#[actix_web::test]
async fn conditional_requests_negotiation_and_long_polls() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let site = service::create_site(&app, &shop.operator, "s").await.unwrap();
        let (node, _) = node(&app, &shop.operator, &site, "n").await;
        let uri = "/api/v1/deployments";
        let etag = get(&app, &node, uri).await.etag;
        for tag in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
            let answer = call(&app, &node, TestRequest::get().uri(uri).insert_header(("If-None-Match", tag.as_str()))).await;
            assert_eq!((answer.status.as_u16(), &answer.etag, answer.body.len()), (304, &etag, 0), "{tag}");
            assert_eq!(answer.vary, "Accept-Encoding");
        }
        let other = call(&app, &node, TestRequest::get().uri(uri).insert_header(("If-None-Match", "\"sha256:0\""))).await;
        assert_eq!((other.status.as_u16(), other.content_type.as_str()), (200, "application/vnd.margo.manifest.v1+json"));
        let refused = call(&app, &node, TestRequest::get().uri(uri).insert_header(("Accept", "application/xml"))).await;
        assert_eq!(refused.problem(), (406, "server-cannot-generate-response".into(), "manifest-not-acceptable".into()));

        let license = license(&app, &shop, PlanKind::Subscription, 1).await;
        let poll = call(&app, &node, TestRequest::get().uri("/api/v1/deployments?wait=20").insert_header(("If-None-Match", etag.as_str())));
        let change = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            deploy(&app, &shop, &license, &shop.listing.release_id, &node).await
        };
        let started = std::time::Instant::now();
        let (answer, _) = tokio::join!(poll, change);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["manifestVersion"], version(2));
        assert!(started.elapsed().as_secs() < 4, "told at once, not at the next look");
        let waited =
            call(&app, &node, TestRequest::get().uri("/api/v1/deployments?wait=1").insert_header(("If-None-Match", answer.etag.as_str())))
                .await;
        assert_eq!(waited.status, 304);
        // What is expected is said at once, also to who would wait.
        let failed =
            call(&app, &node, TestRequest::get().uri("/api/v1/deployments?wait=20").insert_header(("If-Match", etag.as_str()))).await;
        assert_eq!(failed.problem(), (412, "about:blank".into(), "precondition-failed".into()));
        let doubled = get(&app, &node, "/api/v1/deployments?wait=1&wait=2").await;
        assert_eq!(doubled.problem(), (400, "invalid-request".into(), "query-malformed".into()));
        assert_eq!(doubled.json()["retryable"], false);

        let bundle = manifest(&app, &node).await.bundle.unwrap();
        for url in [bundle.url, manifest(&app, &node).await.deployments[0].url.clone()] {
            let all = get(&app, &node, &url).await;
            let ask = async |headers: &[(&str, &str)]| {
                let request = headers.iter().fold(TestRequest::get().uri(&url), |request, header| request.insert_header(*header));
                call(&app, &node, request).await
            };
            let held = ask(&[("If-None-Match", &all.etag)]).await;
            assert_eq!((held.status.as_u16(), &held.etag, &held.cache, held.body.len()), (304, &all.etag, &all.cache, 0));
            let part = ask(&[("Range", "bytes=1-4"), ("If-Range", &all.etag)]).await;
            assert_eq!((part.status.as_u16(), &part.body[..], part.vary.as_str()), (206, &all.body[1..5], "Accept-Encoding"));
            assert_eq!(ask(&[("If-Match", "\"x\"")]).await.problem(), (412, "about:blank".into(), "precondition-failed".into()));
            assert_eq!(ask(&[("If-Match", &all.etag)]).await.body, all.body);
        }
    })
    .await;
}

#[actix_web::test]
async fn digests_of_another_node_do_not_exist_and_a_removed_node_is_refused() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let site = service::create_site(&app, &shop.operator, "s").await.unwrap();
        let (node_a, der) = node(&app, &shop.operator, &site, "a").await;
        let certificate = service::NodeCertificate::new(der);
        let (node_b, _) = node(&app, &shop.operator, &site, "b").await;
        let license = license(&app, &shop, PlanKind::Subscription, 1).await;
        let id = deploy(&app, &shop, &license, &shop.listing.release_id, &node_a).await;
        let state = manifest(&app, &node_a).await;
        let bundle = state.bundle.unwrap().url;
        let document = &state.deployments[0].url;
        assert_eq!(get(&app, &node_b, document).await.status, 404);
        assert_eq!(get(&app, &node_b, &bundle).await.status, 404);
        assert_eq!(get(&app, &node_a, &document.replace(&id, "dep_other")).await.status, 404);
        assert_eq!(get(&app, &node_a, "/api/v1/bundles/sha256:..").await.status, 404);
        let others = post(&app, &node_b, &id, status(&id, version(1), "installed")).await;
        assert_eq!((others.problem().0, &others.json()["errors"][0]["field"]), (422, &json!("deploymentId")));
        for actor in [Actor::Anonymous, shop.operator.clone()] {
            assert_eq!(get(&app, &actor, document).await.problem(), (403, "not-authorized".into(), "not-authorized".into()));
        }

        certificate.authenticate(&app).await.unwrap();
        service::remove_node(&app, &shop.operator, id_of(&node_a)).await.unwrap();
        drain_jobs(&app).await;
        assert_eq!(certificate.authenticate(&app).await.unwrap_err().kind, Kind::Unauthenticated);
        // Even a call that was let in before the removal learns nothing any more.
        assert_eq!(get(&app, &node_a, "/api/v1/deployments").await.problem().0, 403);
        assert_eq!(get(&app, &node_a, document).await.problem().0, 404);
        let put = TestRequest::put()
            .uri(&format!("/api/v1/capabilities/{}", id_of(&node_a)))
            .set_payload(capabilities(id_of(&node_a)).to_string());
        assert_eq!(call(&app, &node_a, put).await.problem().0, 403);
    })
    .await;
}

fn capabilities(id: &str) -> Value {
    json!({"properties": {
        "id": id, "vendor": "V", "modelNumber": "M", "serialNumber": "S", "cpus": [{"cores": 4, "architecture": "amd64"}], "memory": "8Gi", "storage": "64Gi",
        "interfaces": [{"type": "ethernet"}], "peripherals": [], "otelCollector": false, "supportedRuntimes": ["custom"], "supportedDeploymentTypes": ["custom"],
    }, "labels": {"pithead.dev/onnx-runtime": "1.22.0"}})
}

#[actix_web::test]
async fn capabilities_are_taken_and_judged() {
    each_backend(|app| async move {
        let operator = testing::operator(&app, "mine").await;
        let site = service::create_site(&app, &operator, "s").await.unwrap();
        let (node, _) = node(&app, &operator, &site, "n").await;
        let id = id_of(&node).to_owned();
        let put = |path: String, body: String| {
            call(&app, &node, TestRequest::put().uri(&format!("/api/v1/capabilities/{path}")).set_payload(body))
        };
        let good = capabilities(&id);
        assert_eq!(put(id.clone(), good.to_string()).await.status, 201);
        assert_eq!(put(id.clone(), good.to_string()).await.status, 200);
        for (pointer, value, field) in [
            ("/surprise", json!(1), "surprise"),
            ("/properties/interfaces/0/surprise", json!(1), "properties.interfaces[0].surprise"),
            ("/properties/memory", json!(null), "properties.memory"),
            ("/properties/serialNumber", json!(7), "properties.serialNumber"),
            ("/properties/cpus", json!({"cores": 4}), "properties.cpus"),
            ("/properties/cpus/0", json!({"architecture": "arm64"}), "properties.cpus[0].cores"),
            ("/properties/cpus/0/cores", json!("four"), "properties.cpus[0].cores"),
            ("/properties/supportedDeploymentTypes", json!([]), "properties.supportedDeploymentTypes"),
            ("/properties/supportedRuntimes", json!([]), "properties.supportedRuntimes"),
            ("/properties/supportedRuntimes", json!([1]), "properties.supportedRuntimes[0]"),
            ("/labels", json!([]), "labels"),
            ("/properties/supportedDeploymentTypes", json!(["docker-swarm"]), "properties.supportedDeploymentTypes[0]"),
            ("/properties/supportedRuntimes", json!(["containerd-direct"]), "properties.supportedRuntimes[0]"),
            ("/properties/vendor", json!("x".repeat(201)), "properties.vendor"),
            ("/properties/id", json!("nod_other"), "properties.id"),
            ("/labels/x", json!({"deep": 1}), "labels.x"),
        ] {
            let mut bad = good.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match bad.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
                object => object[key] = value,
            }
            let answer = put(id.clone(), bad.to_string()).await;
            assert_eq!(answer.status, 422, "{pointer}");
            assert_eq!(answer.problem(), (422, "semantic-error".into(), "semantic-error".into()), "{pointer}");
            let fault = &answer.json()["errors"][0];
            assert_eq!(fault["field"], field, "{fault}");
            let message = fault["message"].as_str().unwrap();
            assert!(["must be", "must have", "is required", "is no key"].iter().any(|own| message.starts_with(own)), "{message}");
        }
        // What devices add where the OpenAPI lets them is passed over.
        let mut more = good.clone();
        more["properties"]["surprise"] = json!({"a": [1]});
        more["properties"]["cpus"][0]["surprise"] = json!(1);
        assert_eq!(put(id.clone(), more.to_string()).await.status, 200);
        let huge = good.to_string().replace("\"cores\":4", "\"cores\":1e999");
        assert_eq!(put(id.clone(), huge).await.problem().0, 422, "JSON, though no number of ours");
        assert_eq!(put(id.clone(), "{".into()).await.problem(), (400, "invalid-request".into(), "json-malformed".into()));
        assert_eq!(put(id.clone(), format!("{{\"x-a-extensions\":{}1{}}}", "[".repeat(500), "]".repeat(500))).await.problem().0, 400);
        assert_eq!(put(id.clone(), "[]".into()).await.problem().0, 422);
        assert_eq!(put(id.clone(), " ".repeat(200_000)).await.problem().0, 413);
        assert_eq!(put(format!("{id}/child"), good.to_string()).await.problem().1, "gateway-not-found");
        assert_eq!(put("nod_other".into(), good.to_string()).await.problem().0, 403);

        let delete = || call(&app, &node, TestRequest::delete().uri(&format!("/api/v1/capabilities/{id}")));
        assert_eq!(delete().await.status, 204);
        assert_eq!(delete().await.problem(), (404, "device-not-found".into(), "device-not-found".into()));
        let seen: Option<crate::base::db::Timestamp> =
            app.db.read(move |conn| Ok(nodes::table.find(id).select(nodes::seen_at).first(conn)?)).await.unwrap();
        assert_eq!(seen, Some(app.clock.now()));
    })
    .await;
}

#[actix_web::test]
async fn a_deployment_goes_its_way_by_status_posts() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let site = service::create_site(&app, &shop.operator, "s").await.unwrap();
        let (node, _) = node(&app, &shop.operator, &site, "n").await;
        let license = license(&app, &shop, PlanKind::Subscription, 1).await;
        let id = deploy(&app, &shop, &license, &shop.listing.release_id, &node).await;

        let future = post(&app, &node, &id, status(&id, version(3), "installed")).await;
        assert_eq!(future.problem().0, 422);
        assert_eq!(future.json()["errors"][0]["field"], "adoptedManifestVersion");
        for wrong in [status("dep_other", version(2), "installed"), status(&id, 0, "installed"), status(&id, version(2), "running")] {
            assert_eq!(post(&app, &node, &id, wrong).await.problem().0, 422);
        }
        for (pointer, value, field) in [
            ("/status/state", json!("running"), "status.state"),
            ("/components/0/state", json!(1), "components[0].state"),
            ("/components/0", json!("belt"), "components[0]"),
            ("/components", json!({}), "components"),
            ("/adoptedManifestVersion", json!(-1), "adoptedManifestVersion"),
            ("/status/error", json!("none"), "status.error"),
        ] {
            let mut bad = status(&id, version(2), "installed");
            bad["status"]["error"] = json!(null);
            *bad.pointer_mut(pointer).unwrap() = value;
            let answer = post(&app, &node, &id, bad).await;
            assert_eq!((answer.problem().0, &answer.json()["errors"][0]["field"]), (422, &json!(field)), "{pointer}");
        }
        assert_eq!(deployment(&app, &id).await.state, DeploymentState::Pending);

        // It has not taken the change yet: what it says is about something else.
        assert_eq!(post(&app, &node, &id, status(&id, version(1), "installed")).await.status, 200);
        assert_eq!(deployment(&app, &id).await.state, DeploymentState::Pending);
        let mut failed = status(&id, version(2), "failed");
        failed["status"]["error"] = json!({"code": "digest-mismatch", "source": "store", "message": "three bytes short"});
        for body in [
            status(&id, version(2), "installing"),
            failed.clone(),
            failed,
            status(&id, version(2), "installed"),
            status(&id, version(2), "installed"),
        ] {
            assert_eq!(post(&app, &node, &id, body).await.status, 200);
        }
        let present = deployment(&app, &id).await;
        assert_eq!(
            (present.state, present.error, present.adopted_version),
            (DeploymentState::Installed, None, i64::try_from(version(2)).unwrap())
        );
        assert_eq!(events(&app, &id).await, ["pending", "installing", "failed", "installed"]);
        // As the conformance runner sends it.
        let mut text = status(&id, version(2), "installed");
        text["adoptedManifestVersion"] = json!("2");
        assert_eq!(post(&app, &node, &id, text).await.status, 200);

        service::remove_deployment(&app, &shop.operator, &id).await.unwrap();
        drain_jobs(&app).await;
        let state = manifest(&app, &node).await;
        assert_eq!((state.manifest_version, state.deployments.len(), state.bundle), (version(3), 0, None));
        assert_eq!(post(&app, &node, &id, status(&id, version(3), "removed")).await.status, 200);
        assert_eq!(post(&app, &node, &id, status(&id, version(3), "removed")).await.status, 200);
        assert_eq!(deployment(&app, &id).await.state, DeploymentState::Removed);
        let license_id = license.id.clone();
        let free = app.db.read(move |conn| crate::license::service::get(conn, &license_id)).await.unwrap();
        assert_eq!(free.nodes_active, 0);
        assert_eq!(events(&app, &id).await.len(), 6);
    })
    .await;
}

/// Who says `installed` of what failed in part is not believed, nor who names no component.
#[actix_web::test]
async fn what_is_installed_in_part_is_not_installed() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let site = service::create_site(&app, &shop.operator, "s").await.unwrap();
        let (node, _) = node(&app, &shop.operator, &site, "n").await;
        let license = license(&app, &shop, PlanKind::Subscription, 1).await;
        let id = deploy(&app, &shop, &license, &shop.listing.release_id, &node).await;
        let adopted = manifest(&app, &node).await.manifest_version;
        let said = async |components: Value| {
            let mut body = status(&id, adopted, "installed");
            body["components"] = components;
            assert_eq!(post(&app, &node, &id, body).await.status, 200);
            let present = deployment(&app, &id).await;
            (present.state, present.error)
        };
        let failed = json!({"name": "camera", "state": "failed", "error": {"code": "no-camera", "message": "none found"}});
        assert_eq!(said(json!([])).await, (DeploymentState::Pending, None));
        assert_eq!(
            said(json!([{"name": "belt", "state": "installed"}, failed])).await,
            (DeploymentState::Failed, Some("no-camera: none found".into()))
        );
        assert_eq!(said(json!([{"name": "belt", "state": "installing"}])).await, (DeploymentState::Installing, None));
        assert_eq!(said(json!([{"name": "belt", "state": "installed"}])).await, (DeploymentState::Installed, None));
    })
    .await;
}

#[actix_web::test]
async fn a_revoked_licence_takes_the_app_off_the_node() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let site = service::create_site(&app, &shop.operator, "s").await.unwrap();
        let (node, _) = node(&app, &shop.operator, &site, "n").await;
        let license = license(&app, &shop, PlanKind::Subscription, 1).await;
        let id = deploy(&app, &shop, &license, &shop.listing.release_id, &node).await;
        let administrator = testing::platform(&app, Role::Administrator).await;
        let decide = |decision| crate::license::service::decide(&app, &administrator, license.id.clone(), decision, "not paid");
        decide(LicenseDecision::Suspend).await.unwrap();
        drain_jobs(&app).await;
        assert_eq!(manifest(&app, &node).await.deployments.len(), 0);
        let held = deployment(&app, &id).await;
        assert_eq!(
            (held.state, held.error.as_deref(), held.target_version),
            (DeploymentState::Failed, Some("license-suspended"), i64::try_from(version(3)).unwrap())
        );
        assert_eq!(post(&app, &node, &id, status(&id, version(3), "removed")).await.status, 200);
        assert_eq!(deployment(&app, &id).await.state, DeploymentState::Failed);
        decide(LicenseDecision::Reinstate).await.unwrap();
        drain_jobs(&app).await;
        let back = manifest(&app, &node).await;
        assert_eq!((back.manifest_version, back.deployments.len()), (version(4), 1));
        assert_eq!(deployment(&app, &id).await.state, DeploymentState::Pending);
        // Taken away again, and removed while it is away: the seat does not stay taken.
        decide(LicenseDecision::Suspend).await.unwrap();
        drain_jobs(&app).await;
        post(&app, &node, &id, status(&id, version(5), "removed")).await;
        service::remove_deployment(&app, &shop.operator, &id).await.unwrap();
        drain_jobs(&app).await;
        assert_eq!(deployment(&app, &id).await.state, DeploymentState::Removed);
    })
    .await;
}

#[actix_web::test]
async fn changes_of_state_have_a_rate_and_the_newest_are_kept() {
    let few = |settings: &mut crate::base::config::Settings| {
        settings.fleet.states_per_hour = 4;
        settings.fleet.keep_events = 3;
    };
    testing::each_backend_with(few, |app| async move {
        let shop = shop(&app).await;
        let site = service::create_site(&app, &shop.operator, "East").await.unwrap();
        let (node, _) = node(&app, &shop.operator, &site, "belt 1").await;
        let license = license(&app, &shop, PlanKind::Subscription, 5).await;
        let id = deploy(&app, &shop, &license, &shop.listing.release_id, &node).await;
        let known = events(&app, &id).await.len();
        let adopted = manifest(&app, &node).await.manifest_version;
        for state in ["installing", "installed", "installed", "failed", "installed", "installed"] {
            assert_eq!(post(&app, &node, &id, status(&id, adopted, state)).await.status, 200, "{state}");
        }
        assert_eq!(events(&app, &id).await.len(), known + 4, "what changes nothing is no event");
        let refused = post(&app, &node, &id, status(&id, adopted, "failed")).await;
        let problem: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(
            (refused.status, &problem["code"], &problem["retryAfterSeconds"]),
            (StatusCode::TOO_MANY_REQUESTS, &json!("too-many-states"), &json!(900))
        );
        assert_eq!(events(&app, &id).await.len(), known + 4);
        assert_eq!(post(&app, &node, &id, status(&id, adopted, "installed")).await.status, 200, "no change costs nothing");
        app.clock.advance(chrono::TimeDelta::minutes(15));
        assert_eq!(post(&app, &node, &id, status(&id, adopted, "failed")).await.status, 200, "the node posts it again");
        crate::fleet::upkeep::prune(&app).await.unwrap();
        assert_eq!(events(&app, &id).await, ["failed", "installed", "failed"]);
    })
    .await;
}
