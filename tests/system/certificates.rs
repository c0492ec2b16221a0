//! Who may talk to the endpoint of nodes, over the wire: none, foreign, expired, unlisted, of another node, of a removed node.

use std::path::Path;
use std::process::Command;

use chrono::{TimeDelta, Utc};
use diesel::prelude::*;
use pithead::base::config::Trust;
use pithead::base::db::Timestamp;
use pithead::base::db::schema::{deployments, nodes};
use pithead::base::pki::ca::NodeCa;
use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};

use crate::demo::{Demo, tool};

pub struct Known {
    pub node_id: String,
    /// Certificates and key.
    pub pem: String,
}

/// Identity of the node whose agent keeps its data there.
pub fn known(folder: &Path) -> Known {
    let identity: Value = serde_json::from_slice(&std::fs::read(folder.join("identity.json")).unwrap()).unwrap();
    let of = |name: &str| identity[name].as_str().unwrap().to_owned();
    Known { node_id: of("node_id"), pem: format!("{}{}", of("certificate_pem"), of("key_pem")) }
}

/// A client of the endpoint of nodes, with a certificate or none.
pub fn client(demo: &Demo, pem: Option<&str>) -> Client {
    let authority = std::fs::read(demo.folder.join("keys/node-ca.pem")).unwrap();
    let mut builder = Client::builder().tls_certs_only([Certificate::from_pem(&authority).unwrap()]).no_proxy();
    if let Some(pem) = pem {
        builder = builder.identity(Identity::from_pem(pem.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

/// A certificate of the platform's own authority for a node, made now or at another time, that the platform has not handed out.
fn forged(demo: &Demo, node_id: &str, at: Timestamp) -> String {
    let ca = NodeCa::load_or_make(&demo.folder.join("keys"), &Trust::default()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    format!("{}{}", ca.sign_node(&request, node_id, at).unwrap().chain_pem, key.serialize_pem())
}

fn self_signed(node_id: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    let name = format!("spiffe://pithead.local/margo/wfm/main/client/{node_id}");
    params.subject_alt_names = vec![rcgen::SanType::URI(name.try_into().unwrap())];
    format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Status of a call, or none where TLS itself refused.
async fn ask(client: &Client, demo: &Demo, path: &str) -> Option<u16> {
    client.get(format!("{}{path}", demo.edge)).send().await.ok().map(|response| response.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_nodes_own_accepted_certificate_opens_its_documents() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::shared();
    let (one, two) = (known(&demo.folder.join("edge-1")), known(&demo.folder.join("edge-2")));
    let deployments_path = "/api/v1/deployments";

    assert_eq!(ask(&client(&demo, Some(&one.pem)), &demo, deployments_path).await, Some(200));
    assert_eq!(ask(&client(&demo, None), &demo, deployments_path).await, Some(403));
    assert_eq!(ask(&client(&demo, Some(&self_signed(&one.node_id))), &demo, deployments_path).await, None, "self-signed");
    let now = Timestamp::new(Utc::now());
    let expired = forged(&demo, &one.node_id, now.minus(TimeDelta::days(40)));
    assert_eq!(ask(&client(&demo, Some(&expired)), &demo, deployments_path).await, None, "expired");
    let unlisted = forged(&demo, &one.node_id, now);
    assert_eq!(ask(&client(&demo, Some(&unlisted)), &demo, deployments_path).await, Some(403), "not on the accepted list");
    let nobody = forged(&demo, "nod_nobody", now);
    assert_eq!(ask(&client(&demo, Some(&nobody)), &demo, deployments_path).await, Some(403), "of no node");

    // The first node's certificate for what is the second one's.
    let first = client(&demo, Some(&one.pem));
    let second = two.node_id.clone();
    let (deployment, digest) = demo
        .read(move |conn| {
            use pithead::base::db::schema::node_documents::dsl;
            let deployment: String = deployments::table.filter(deployments::node_id.eq(&second)).select(deployments::id).first(conn)?;
            let digest: String = dsl::node_documents.filter(dsl::node_id.eq(&second)).select(dsl::digest).first(conn)?;
            Ok((deployment, digest))
        })
        .await;
    assert_eq!(ask(&first, &demo, &format!("/api/v1/deployments/{deployment}/{digest}")).await, Some(404));
    assert_eq!(ask(&first, &demo, &format!("/api/v1/bundles/{digest}")).await, Some(404));
    let capabilities = json!({"apiVersion": "device.margo/v1", "kind": "DeviceCapabilities", "properties": {"id": two.node_id}});
    let put = first.put(format!("{}/api/v1/capabilities/{}", demo.edge, two.node_id)).json(&capabilities).send().await.unwrap();
    assert!(matches!(put.status().as_u16(), 403 | 404), "{}", put.status());
    let status = first.post(format!("{}/api/v1/deployments/{deployment}/status", demo.edge)).json(&json!({})).send().await.unwrap();
    assert!((400..500).contains(&status.status().as_u16()), "{}", status.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_out_at_once_even_on_an_open_connection() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::shared();
    let owner = demo.sign_in("operator-owner").await;
    let site: String = demo
        .read(|conn| {
            use pithead::base::db::schema::sites::dsl;
            Ok(dsl::sites.select(dsl::id).first(conn)?)
        })
        .await;
    let made = owner.form("/mine/nodes/new", &[("site_id", &site), ("name", "test bench")]).await;
    assert_eq!(made.status(), 303, "{}", made.text().await.unwrap());
    let page = made.headers()["location"].to_str().unwrap().to_owned();
    // The code is shown to the browser that asked for it, in a cookie of its own.
    let html = owner.with_cookie(&made, "enrollment-code").get(&page).await.text().await.unwrap();
    let after = |mark: &str| html.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {html}")).1;
    let word = |mark: &str| after(mark).trim_start().split(|c: char| c.is_whitespace() || c == '<').next().unwrap().to_owned();
    let (code, pin) = (word("--code "), word("--ca-pin "));

    let folder = demo.folder.join("bench-node");
    let enrol = |folder: &Path| {
        let mut command = Command::new(tool("TEST_EDGE_BIN"));
        command.args(["enroll", "--server", &demo.edge, "--code", &code, "--ca-pin", &pin, "--data"]).arg(folder);
        command.output().unwrap()
    };
    let enrolled = enrol(&folder);
    assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    let again = enrol(&demo.folder.join("bench-node-2"));
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("enrollment-code-used"), "{again:?}");

    let node = known(&folder);
    let open = client(&demo, Some(&node.pem));
    assert_eq!(ask(&open, &demo, "/api/v1/deployments").await, Some(200));
    let removed = owner.form(&format!("/mine/nodes/{}/remove", node.node_id), &[]).await;
    assert_eq!(removed.status(), 303);
    assert_eq!(ask(&open, &demo, "/api/v1/deployments").await, Some(403), "the connection that was open before");
    assert_eq!(ask(&client(&demo, Some(&node.pem)), &demo, "/api/v1/deployments").await, Some(403));
    let id = node.node_id.clone();
    let state: String = demo.read(move |conn| Ok(nodes::table.find(id).select(nodes::state).first(conn)?)).await;
    assert_eq!(state, "removed");
}
