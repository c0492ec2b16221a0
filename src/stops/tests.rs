//! Stops on both backends: what each takes away, what goes on, who may do it, what is recorded.

use actix_web::http::Method;
use diesel::prelude::*;
use serde_json::{Map, Value, json};

use super::model::Stop;
use super::service::{act, preview, resolve};
use crate::account::service as account;
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{apps, audit_records};
use crate::base::error::{Error, Result};
use crate::fleet::margo::{served, status};
use crate::fleet::service::DeployInput;
use crate::testing::shop::{Shop, shop};
use crate::testing::{self, PASSWORD, each_backend, page};

mod people;
mod recall;
mod suspension;

/// A reason that would be markup if it were not text.
const WHY: &str = "misses <b>smoke</b> at night";
const SHOWN: &str = "misses &#60;b&#62;smoke&#60;/b&#62; at night";

fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    let error: Error = result.unwrap_err();
    error.fields.first().map_or(error.code, |field| field.code)
}

fn node_id(node: &Actor) -> String {
    node.label().trim_start_matches("node:").to_owned()
}

fn input(shop: &Shop, license_id: &str, node: &Actor) -> DeployInput {
    DeployInput {
        release_id: shop.listing.release_id.clone(),
        license_id: license_id.to_owned(),
        node_ids: vec![node_id(node)],
        parameters: Map::new(),
    }
}

/// The node reports a deployment as installed in the newest desired state.
async fn installed(app: &App, node: &Actor, deployment: &str) {
    let id = node_id(node);
    let digest = served::manifest_digest(app, &id).await.unwrap();
    let manifest: Value = serde_json::from_slice(&served::document(app, &id, &digest, served::Kind::Manifest).await.unwrap()).unwrap();
    let body = json!({"deploymentId": deployment, "adoptedManifestVersion": manifest["manifestVersion"], "status": {"state": "installed"},
        "components": [{"name": "belt", "state": "installed"}]});
    status::post(app, node, &id, deployment, body.to_string().as_bytes()).await.unwrap();
}

/// The newest documents of deployments in the node's desired state.
async fn documents(app: &App, node: &Actor) -> Vec<String> {
    let id = node_id(node);
    let digest = served::manifest_digest(app, &id).await.unwrap();
    let manifest: Value = serde_json::from_slice(&served::document(app, &id, &digest, served::Kind::Manifest).await.unwrap()).unwrap();
    let mut out = Vec::new();
    for deployment in manifest["deployments"].as_array().unwrap() {
        let digest = deployment["digest"].as_str().unwrap();
        out.push(String::from_utf8(served::document(app, &id, digest, served::Kind::Deployment).await.unwrap()).unwrap());
    }
    out
}

async fn sign_in(app: &App, email: &str) -> Result<Actor> {
    let cookie = account::sign_in(app, email, PASSWORD.into(), "10.0.0.1", "test").await?;
    account::authenticate_session(app, &cookie).await
}

async fn state(app: &App) -> String {
    app.db.read(|conn| Ok(apps::table.select(apps::state).first(conn)?)).await.unwrap()
}

#[tokio::test]
async fn the_command_line_finds_what_people_name() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let find = async |stop, text: &str| resolve(&app, stop, text).await;
        assert_eq!(find(Stop::RecallRelease, "acme/belt:1.0.0").await.unwrap(), shop.listing.release_id);
        assert_eq!(find(Stop::RecallRelease, &shop.listing.release_id).await.unwrap(), shop.listing.release_id);
        assert_eq!(find(Stop::SuspendListing, "acme/belt").await.unwrap(), shop.listing.app_id);
        assert_eq!(find(Stop::SuspendOrganization, "acme").await.unwrap(), shop.vendor.organization_id().unwrap());
        assert_eq!(find(Stop::DisablePerson, "Owner@acme.example").await.unwrap(), shop.vendor.person().unwrap().user_id);
        for (stop, text, missing) in [
            (Stop::RecallRelease, "acme/belt:9.0.0", "release"),
            (Stop::SuspendListing, "acme/none", "listing"),
            (Stop::DisablePerson, "none@acme.example", "person"),
        ] {
            assert_eq!(code(find(stop, text).await), missing);
        }
        assert_eq!(code(preview(&app, &Actor::System, Stop::SuspendOrganization, "none").await), "organization");
        // The platform itself may, and is recorded as such.
        act(&app, &Actor::System, Stop::SuspendOrganization, shop.vendor.organization_id().unwrap(), WHY).await.unwrap();
        let by: String = app
            .db
            .read(|conn| {
                let of = audit_records::table.filter(audit_records::action.eq("organization.suspended"));
                Ok(of.select(audit_records::actor).first(conn)?)
            })
            .await
            .unwrap();
        assert_eq!(by, "system");
    })
    .await;
}

#[tokio::test]
async fn a_page_stands_before_each_stop() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let path = format!("/admin/stops/suspend-listing/{}", shop.listing.app_id);
        let (status, html) = page(&app, &admin, Method::GET, &path, "").await;
        assert!(status == 200 && html.contains("1 listing") && html.contains("name=\"reason\""), "{status} {html}");
        assert_eq!(state(&app).await, "listed");
        let (status, html) = page(&app, &admin, Method::POST, &path, "reason=x").await;
        assert!(status == 422 && html.contains("invalid-feedback"), "{status} {html}");
        assert_eq!(page(&app, &admin, Method::POST, &path, "reason=unclear").await.0, 303);
        assert_eq!(state(&app).await, "suspended");
        assert_eq!(page(&app, &admin, Method::GET, &path, "").await.0, 409);
        for wrong in ["/admin/stops/nonsense/x", "/admin/stops/recall-release/x", "/admin/stops/disable-person/x"] {
            assert_eq!(page(&app, &admin, Method::GET, wrong, "").await.0, 404, "{wrong}");
        }
        for list in ["/admin/organizations?q=ACM", "/admin/people?q=owner%40acme"] {
            let (status, html) = page(&app, &admin, Method::GET, list, "").await;
            assert!(status == 200 && html.contains("acme") && !html.contains("owner@mine.example"), "{list}: {html}");
        }
        let html = page(&app, &admin, Method::GET, "/admin/organizations?q=%25", "").await.1;
        assert!(html.contains("Nothing found"), "{html}");
    })
    .await;
}
