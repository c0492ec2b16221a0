//! The endpoints of the small server.

use std::sync::{Arc, Mutex};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use app_package::digest::Digest;
use app_package::oci;
use app_package::stream::{Item, Kind, Known, Placed};
use futures_util::StreamExt;
use rcgen::{CertificateSigningRequestParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{CODE, MANAGER, NODE, World, uri};

pub(super) struct Context {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) ca: Arc<(Issuer<'static, KeyPair>, String)>,
    pub(super) jwks: Value,
}

type Ctx = web::Data<Context>;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    use web::{get, post, put};
    config
        .route("/edge/enroll", post().to(enroll))
        .route("/edge/renew", post().to(renew))
        .route("/edge/reports", post().to(reports))
        .route("/.well-known/pithead/roots/{version}", get().to(root))
        .route("/edge/state", get().to(state))
        .route("/.well-known/pithead/revocations", get().to(revocations))
        .route("/.well-known/jwks.json", get().to(|c: Ctx| async move { HttpResponse::Ok().json(&c.jwks) }))
        .route("/api/v1/capabilities/{id}", put().to(capabilities))
        .route("/api/v1/deployments", get().to(deployments))
        .route("/api/v1/deployments/{id}/status", post().to(status))
        .route("/api/v1/deployments/{id}/{digest}", get().to(document))
        .route("/token", get().to(|| async { HttpResponse::Ok().json(json!({ "token": "t", "expires_in": 300 })) }))
        .route("/v2/{vendor}/{app}/manifests/{digest}", get().to(manifest))
        .route("/v2/{vendor}/{app}/referrers/{digest}", get().to(referrers))
        .route("/v2/{vendor}/{app}/blobs/{digest}", get().to(blob));
}

fn issue(context: &Context, csr: &str, world: &World) -> HttpResponse {
    let aged = world.aged;
    let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
    let spiffe_id = format!("{MANAGER}/client/{NODE}");
    request.params.subject_alt_names = vec![uri(&spiffe_id)];
    request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if aged {
        let (now, day) = (std::time::SystemTime::now(), std::time::Duration::from_hours(24));
        (request.params.not_before, request.params.not_after) = ((now - day * 26).into(), (now + day * 4).into());
    }
    let certificate = request.signed_by(&context.ca.0).unwrap();
    HttpResponse::Created().json(json!({
        "node_id": NODE, "spiffe_id": spiffe_id, "certificate_pem": format!("{}{}", certificate.pem(), context.ca.1),
        "trust_bundle_pem": context.ca.1, "jwks": context.jwks, "node_name": "节点<1>", "site_name": "North pit",
        "poll_seconds": 1, "heartbeat_seconds": 1, "root": world.signed.as_ref().and_then(|signed| signed.roots.last()),
    }))
}

async fn enroll(context: Ctx, body: web::Json<Value>) -> HttpResponse {
    let mut world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if body["code"] != CODE || world.enrolled {
        let code = if world.enrolled { "enrollment-code-used" } else { "enrollment-code-unknown" };
        return HttpResponse::BadRequest()
            .content_type("application/problem+json")
            .body(json!({ "code": code, "detail": "no" }).to_string());
    }
    world.enrolled = true;
    issue(&context, body["csr_pem"].as_str().unwrap(), &world)
}

async fn renew(context: Ctx, body: web::Json<Value>) -> HttpResponse {
    let mut world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    world.renewals += 1;
    issue(&context, body["csr_pem"].as_str().unwrap(), &world)
}

async fn reports(context: Ctx, body: web::Bytes) -> HttpResponse {
    let mut guard = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let world = &mut *guard;
    if world.down {
        return HttpResponse::ServiceUnavailable().finish();
    }
    if world.removed {
        return not_accepted();
    }
    let body: Sent = serde_json::from_slice(&body).unwrap();
    world.reports.extend(body.reports);
    let answered = body.streams.into_iter().map(|part| {
        let mut known = world.streams.remove(&part.stream).unwrap_or_else(|| Known::new(&part.stream));
        for text in part.records.iter().map(|record| record.get()) {
            let item = Item::read(text).unwrap();
            // The agent's records follow on one another, whatever happens to it.
            let placed = known.place(&item.span(text)).unwrap();
            let (Item::Record(record), Placed::Taken { .. }) = (item, placed) else { continue };
            let mut told: Value = serde_json::from_str(record.body.get()).unwrap();
            let alarm = matches!(part.kind, Kind::Critical | Kind::Alarms);
            told["kind"] = json!(if alarm { "alarm" } else { part.kind.as_str() });
            told["at"] = json!(record.at);
            if alarm { world.reports.push(told) } else { world.records.push(told) }
        }
        let gaps: Vec<(u64, u64)> = known.gaps.iter().map(|gap| (gap.from, gap.to)).collect();
        let answer = json!({ "stream": part.stream, "last": known.last, "gaps": gaps });
        world.streams.insert(part.stream, known);
        answer
    });
    let answered: Vec<Value> = answered.collect();
    HttpResponse::Ok().json(json!({ "streams": answered }))
}

#[derive(serde::Deserialize)]
struct Sent {
    reports: Vec<Value>,
    streams: Vec<Part>,
}

#[derive(serde::Deserialize)]
struct Part {
    stream: String,
    kind: Kind,
    records: Vec<Box<RawValue>>,
}

fn not_accepted() -> HttpResponse {
    HttpResponse::Unauthorized().json(json!({ "status": 401, "code": "certificate-not-accepted" }))
}

async fn capabilities(context: Ctx, body: web::Json<Value>) -> HttpResponse {
    context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner).capabilities = Some(body.into_inner());
    HttpResponse::Created().finish()
}

async fn root(context: Ctx, version: web::Path<usize>) -> HttpResponse {
    let world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match world.signed.as_ref().and_then(|signed| signed.roots.get(version.checked_sub(1)?)) {
        Some(envelope) => HttpResponse::Ok().json(envelope),
        None => HttpResponse::NotFound().finish(),
    }
}

#[derive(serde::Deserialize)]
struct Asked {
    nonce: Option<String>,
}

async fn state(context: Ctx, asked: web::Query<Asked>) -> HttpResponse {
    let world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match &world.signed {
        None => HttpResponse::NotFound().finish(),
        Some(signed) => match &signed.raw {
            Some(raw) if raw.is_empty() => HttpResponse::NotFound().finish(),
            Some(raw) => HttpResponse::Ok().body(raw.clone()),
            None => {
                let node = format!("{MANAGER}/client/{NODE}");
                HttpResponse::Ok().body(signed.statement(node, world.version, desired(&world).as_bytes(), asked.into_inner().nonce))
            }
        },
    }
}

async fn revocations(context: Ctx) -> HttpResponse {
    let world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match &world.signed {
        Some(signed) if !signed.withheld => HttpResponse::Ok().json(signed.revocations.sign(&signed.approve)),
        _ => HttpResponse::NotFound().finish(),
    }
}

/// The state manifest.
fn desired(world: &World) -> String {
    let list: Vec<Value> = world
        .deployments
        .iter()
        .map(|(id, yaml)| {
            let digest = Digest::of(yaml);
            json!({ "deploymentId": id, "digest": digest, "url": format!("/api/v1/deployments/{id}/{digest}") })
        })
        .collect();
    json!({ "manifestVersion": world.version, "bundle": null, "deployments": list }).to_string()
}

async fn deployments(context: Ctx, request: HttpRequest) -> HttpResponse {
    let world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if world.down {
        return HttpResponse::ServiceUnavailable().finish();
    }
    if world.removed {
        return not_accepted();
    }
    let body = desired(&world);
    let etag = format!("\"{}\"", Digest::of(body.as_bytes()));
    let frozen = world.signed.as_ref().is_some_and(|signed| signed.frozen);
    let date = world.signed.as_ref().and_then(|signed| signed.date);
    if frozen || request.headers().get(header::IF_NONE_MATCH).is_some_and(|v| v == etag.as_str()) {
        let newest = world.signed.as_ref().map_or(0, |signed| signed.roots.len());
        let mut answer = HttpResponse::NotModified();
        if let Some(date) = date {
            answer.insert_header((header::DATE, date));
        }
        return answer.insert_header(("x-pithead-root", newest)).finish();
    }
    HttpResponse::Ok().insert_header((header::ETAG, etag)).body(body)
}

async fn document(context: Ctx, path: web::Path<(String, String)>) -> HttpResponse {
    let world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match world.deployments.get(&path.0) {
        Some(_) if world.forged.contains(&path.0) => HttpResponse::Ok().body("forged: true"),
        Some(yaml) if Digest::of(yaml).as_str() == path.1 => HttpResponse::Ok().body(yaml.clone()),
        _ => HttpResponse::NotFound().finish(),
    }
}

async fn status(context: Ctx, body: web::Json<Value>) -> HttpResponse {
    let mut world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if world.down {
        return HttpResponse::ServiceUnavailable().finish();
    }
    if let Some(count) = &mut world.refused {
        *count += 1;
        return HttpResponse::ServiceUnavailable().insert_header((header::RETRY_AFTER, "40")).finish();
    }
    world.statuses.push(body.into_inner());
    HttpResponse::Created().finish()
}

type Path = web::Path<(String, String, String)>;

async fn manifest(context: Ctx, path: Path) -> HttpResponse {
    let world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    world.manifests.get(&path.2).map_or_else(|| HttpResponse::NotFound().finish(), |bytes| HttpResponse::Ok().body(bytes.clone()))
}

async fn referrers(context: Ctx, path: Path) -> HttpResponse {
    let world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    HttpResponse::Ok().json(oci::Index::of(world.signatures.get(&path.2).cloned().unwrap_or_default()))
}

async fn blob(context: Ctx, request: HttpRequest, path: Path) -> HttpResponse {
    let mut world = context.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if request.headers().get(header::AUTHORIZATION).is_none_or(|v| v != "Bearer t") {
        return HttpResponse::Unauthorized().finish();
    }
    world.asked.insert(path.2.clone());
    let Some(bytes) = world.blobs.get(&path.2).cloned() else { return HttpResponse::NotFound().finish() };
    let range = request.headers().get(header::RANGE).map(|v| v.to_str().unwrap().to_owned());
    let from = range.map_or(0, |r| r.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap());
    let mut response = if from > 0 { HttpResponse::PartialContent() } else { HttpResponse::Ok() };
    if from > 0 {
        world.resumed += 1;
        response.insert_header((header::CONTENT_RANGE, format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())));
    }
    if world.cut > 0 && bytes.len() > 50 && from == 0 {
        world.cut -= 1;
        let half = bytes::Bytes::from(bytes[..bytes.len() / 2].to_vec());
        // The half must be on its way before the break, else nothing of the answer is sent.
        let broken = futures_util::stream::iter([Ok(half), Err(std::io::Error::other("cut"))]).then(|part| async {
            if part.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            part
        });
        return response.streaming(broken);
    }
    response.body(bytes[from..].to_vec())
}
