//! The attacks on updates that TUF (specification 1.0 §1.5.2) and Uptane name, by whoever answers at the server's address with the certificate that
//! nodes expect: the real agent goes on with what runs, begins nothing that is not signed under its root document, and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use app_package::digest::Digest;
use app_package::dsse;
use app_package::margo::ReleaseRef;
use app_package::orders::StateStatement;
use app_package::root::{Role, Root};
use serde_json::json;
use support::node::{Node, failed, installed, until};
use support::signed::{ROOTS, STATE, Signed, by, key};
use support::{Server, app};

/// Changes a statement before it is signed.
type Bend = fn(&mut StateStatement);

/// Waits until heartbeats tell this trouble of the node; earlier ones do not count.
async fn told(server: &Server, code: &str) {
    server.world().reports.clear();
    until(&format!("the node tells {code}"), async || {
        let world = server.world();
        world.reports.iter().find(|r| r["kind"] == "heartbeat" && r["node"]["trouble"]["code"] == code).map(drop)
    })
    .await;
}

fn published(server: &Server, version: &str) -> ReleaseRef {
    let (files, manifest) = app(version, 3.0);
    server.publish(&files, &manifest)
}

fn deploy(server: &Server, release: &ReleaseRef) -> u64 {
    server.deploy("dep_1", release, &Server::claims(release), json!({ "limit": 2.0 }));
    server.world().version
}

/// Waits until the deployment is installed as the newest state wants it.
async fn newest(server: &Server) {
    let version = server.world().version;
    installed(server, "dep_1", version).await;
}

fn signed(server: &Server, change: impl FnOnce(&mut Signed)) {
    change(server.world().signed.as_mut().unwrap());
}

/// A server with a root document, and a node that runs version 1.0.0 by it.
async fn running() -> (Server, Root, Node) {
    let server = Server::start();
    let (signs, root) = Signed::new(&server.key, &server.authority);
    server.world().signed = Some(signs);
    let mut node = Node::enrol(&server);
    let version = deploy(&server, &published(&server, "1.0.0"));
    node.start();
    installed(&server, "dep_1", version).await;
    (server, root, node)
}

/// Starts the agent anew: it would wait the longer between two tries, the more have failed.
fn again(node: &mut Node) {
    node.kill();
    node.start();
}

/// Waits until the node holds a version of the root document.
async fn taken(node: &Node, version: u64) {
    until("the root document is taken", async || {
        let text = std::fs::read_to_string(node.data.join("trust.json")).ok()?;
        let stored: serde_json::Value = serde_json::from_str(&text).ok()?;
        let root = Root::read(&serde_json::from_value(stored["root"].clone()).ok()?).ok()?;
        (root.version == version).then_some(())
    })
    .await;
}

/// Waits until licences have been looked at, as they are each 20 s.
async fn licences_looked_at() {
    tokio::time::sleep(Duration::from_secs(25)).await;
}

async fn runs(node: &Node, version: &str) {
    assert_eq!(node.serves().await["version"], version);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_under_the_root_is_not_begun() {
    let (server, _, mut node) = running().await;
    let two = published(&server, "2.0.0");
    let foreign = |statement: &mut StateStatement| statement.node = "spiffe://test.example/margo/wfm/main/client/nod_2".into();
    let bends: [(Bend, &str); 6] = [
        (foreign, "state-other-node"),
        // Indefinite freeze: an old word is kept alive.
        // More than the seconds by which the `Date` of an answer may lag.
        (|statement| statement.expires = statement.issued - 60, "state-expired"),
        // Mix and match: the word on another state than the one served.
        (|statement| statement.digest = Digest::of(b"other"), "state-not-signed"),
        (|statement| statement.manifest_version += 1, "state-not-signed"),
        // What takes trust away is kept back.
        (|statement| statement.root = 7, "root-missing"),
        (|statement| statement.revocations = 9, "revocations-missing"),
    ];
    for (bend, code) in bends {
        signed(&server, |s| s.bend = Some(bend));
        deploy(&server, &two);
        again(&mut node);
        told(&server, code).await;
        runs(&node, "1.0.0").await;
    }
    // Arbitrary software: the key of the line signs, or nobody; endless data.
    let rogue = StateStatement {
        node: "spiffe://test.example/margo/wfm/main/client/nod_1".into(),
        manifest_version: server.world().version,
        digest: Digest::of(b""),
        root: 1,
        revocations: 0,
        issued: 0,
        expires: i64::MAX,
        nonce: None,
    };
    for (raw, code) in [
        (rogue.sign(&key(66)).to_bytes(), "signature-unknown-key"),
        // A key of another role.
        (rogue.sign(&server.key).to_bytes(), "signature-unknown-key"),
        (Vec::new(), "state-unsigned"),
        (b"{}".to_vec(), "signature-malformed"),
        (vec![b' '; 3 << 20], "server-answer-too-large"),
    ] {
        signed(&server, |s| (s.bend, s.raw) = (None, Some(raw)));
        again(&mut node);
        told(&server, code).await;
        runs(&node, "1.0.0").await;
    }
    // The list of revoked releases by another key, or an older one.
    signed(&server, |s| {
        (s.raw, s.approve) = (None, key(66));
        s.revocations.version = 3;
    });
    again(&mut node);
    told(&server, "signature-unknown-key").await;
    signed(&server, |s| s.approve = server.key.clone());
    again(&mut node);
    newest(&server).await;
    runs(&node, "2.0.0").await;

    // Rollback of the state: the older word, though signed and in force, does not take the place of the newer one either.
    let trust = || std::fs::read_to_string(node.data.join("trust.json")).unwrap();
    let newest = trust();
    server.world().version = 1;
    told(&server, "manifest-version-not-higher").await;
    assert_eq!(trust(), newest);
    runs(&node, "2.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_revoked_is_not_begun_and_runs_on_where_it_runs() {
    let (server, _, mut node) = running().await;
    let two = published(&server, "2.0.0");
    let one = published(&server, "1.0.0");
    signed(&server, |s| {
        s.revocations.version = 2;
        s.revocations.releases = vec![one.digest.clone(), two.digest.clone()];
        s.revocations.releases.sort();
    });
    deploy(&server, &two);
    failed(&server, "dep_1", "release-revoked").await;
    runs(&node, "1.0.0").await;
    // Also after a restart without the platform.
    deploy(&server, &one);
    newest(&server).await;
    server.world().down = true;
    node.kill();
    node.start();
    runs(&node, "1.0.0").await;
    // The list is never taken back.
    server.world().down = false;
    signed(&server, |s| {
        s.revocations.version = 1;
        s.revocations.releases.clear();
    });
    deploy(&server, &two);
    failed(&server, "dep_1", "release-revoked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_follow_one_another_by_quorum_alone_and_undo_a_fast_forward() {
    let (server, one, mut node) = running().await;
    // Whoever has the key of states names the highest version there is.
    server.world().version = u64::MAX - 1;
    until("the version of the thief is taken", async || {
        std::fs::read_to_string(node.data.join("state.json")).ok().filter(|text| text.contains(&(u64::MAX - 1).to_string()))
    })
    .await;
    server.world().version = 50;
    told(&server, "manifest-version-not-higher").await;

    let mut two = Root { version: 2, ..one.clone() };
    two.remove(Role::State, &app_package::keys::kid_of(&key(STATE).verifying_key()));
    two.add(Role::State, &key(80).verifying_key(), true);
    // Too few sign, or keys of other roles, or the version is not the next.
    let mut by_online = by(&two, &[1, STATE]);
    dsse::countersign(&mut by_online, &server.key).unwrap();
    let later = Root { version: 3, ..two.clone() };
    for (bad, code) in [
        (by(&two, &[1]), "root-quorum"),
        (by_online, "root-quorum"),
        (by(&later, &ROOTS), "root-version"),
        (by(&one, &ROOTS), "root-version"),
    ] {
        signed(&server, |s| {
            s.roots.truncate(1);
            s.roots.push(bad);
        });
        again(&mut node);
        told(&server, code).await;
    }
    signed(&server, |s| {
        s.roots.truncate(1);
        s.roots.push(by(&two, &[1, 3]));
        s.state = key(80);
    });
    again(&mut node);
    deploy(&server, &published(&server, "2.0.0"));
    until("the genuine state is taken", async || node.predict().await.filter(|(_, answer)| answer["version"] == "2.0.0")).await;

    // The keys of approvals and licences are trusted no longer: what runs goes on, and nothing that they signed is begun.
    let mut three = Root { version: 3, ..two.clone() };
    for role in [Role::Approve, Role::License] {
        three.remove(role, &app_package::keys::kid_of(&server.key.verifying_key()));
        three.add(role, &key(if role == Role::Approve { 81 } else { 82 }).verifying_key(), true);
    }
    signed(&server, |s| {
        s.roots.push(by(&three, &[2, 3]));
        s.approve = key(81);
    });
    taken(&node, 3).await;
    deploy(&server, &published(&server, "3.0.0"));
    failed(&server, "dep_1", "license-unknown-key").await;
    licences_looked_at().await;
    runs(&node, "2.0.0").await;
    node.kill();
}

/// The key of licences is trusted no longer; that of approvals is, and signs no licence.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_whose_licence_key_is_distrusted_runs_on_and_no_other_role_signs_one() {
    let (server, one, mut node) = running().await;
    let mut two = Root { version: 2, ..one.clone() };
    two.remove(Role::License, &app_package::keys::kid_of(&server.key.verifying_key()));
    two.add(Role::License, &key(82).verifying_key(), true);
    signed(&server, |s| s.roots.push(by(&two, &[1, 2])));
    taken(&node, 2).await;
    licences_looked_at().await;
    runs(&node, "1.0.0").await;
    // Also from its start on.
    again(&mut node);
    runs(&node, "1.0.0").await;
    deploy(&server, &published(&server, "2.0.0"));
    failed(&server, "dep_1", "license-unknown-key").await;
    runs(&node, "1.0.0").await;
}

/// Indefinite freeze, by whoever tells the time on the line and answers with what it has heard before.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_nobody_signed_ends_no_licence_and_an_old_answer_is_none() {
    let (server, _, mut node) = running().await;
    let noted = node.data.join("signed-time");
    until("a note of the signed time", async || noted.exists().then_some(())).await;
    let answer = |nonce: Option<&str>| StateStatement {
        node: "spiffe://test.example/margo/wfm/main/client/nod_1".into(),
        manifest_version: server.world().version,
        digest: Digest::of(b""),
        root: 1,
        revocations: 0,
        issued: 0,
        expires: i64::MAX,
        nonce: nonce.map(str::to_owned),
    };
    let raw = |nonce| answer(nonce).sign(&key(STATE)).to_bytes();
    signed(&server, |s| s.date = Some("Fri, 01 Jan 2055 00:00:00 GMT"));
    licences_looked_at().await;
    runs(&node, "1.0.0").await;
    for (raw, code) in [(raw(Some("of-before")), "state-not-fresh"), (raw(None), "state-older")] {
        signed(&server, |s| s.raw = Some(raw));
        // The agent asks at each start.
        again(&mut node);
        told(&server, code).await;
        runs(&node, "1.0.0").await;
    }
    licences_looked_at().await;
    runs(&node, "1.0.0").await;
    // What is signed for its question counts, whatever the line says.
    signed(&server, |s| s.raw = None);
    deploy(&server, &published(&server, "2.0.0"));
    newest(&server).await;
    runs(&node, "2.0.0").await;
}

/// Whoever answers says that nothing has changed, or keeps the list back that the node must have anew: its key is trusted no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_from_which_things_are_kept_says_so_and_begins_nothing() {
    let (server, one, mut node) = running().await;
    let mut two = Root { version: 2, ..one.clone() };
    signed(&server, |s| {
        s.frozen = true;
        s.roots.push(by(&two, &[1, 2]));
    });
    deploy(&server, &published(&server, "2.0.0"));
    told(&server, "state-not-signed").await;
    runs(&node, "1.0.0").await;
    signed(&server, |s| s.frozen = false);
    again(&mut node);
    newest(&server).await;
    runs(&node, "2.0.0").await;

    signed(&server, |s| s.revocations.version = 1);
    deploy(&server, &published(&server, "3.0.0"));
    newest(&server).await;
    two.version = 3;
    two.remove(Role::Approve, &app_package::keys::kid_of(&server.key.verifying_key()));
    two.add(Role::Approve, &key(81).verifying_key(), true);
    signed(&server, |s| {
        (s.withheld, s.approve) = (true, key(81));
        s.roots.push(by(&two, &[1, 2]));
    });
    deploy(&server, &published(&server, "4.0.0"));
    told(&server, "revocations-missing").await;
    runs(&node, "3.0.0").await;
}

/// The agent ended when it had taken a root document and not yet the authorities in it.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_cut_off_takes_the_authorities_at_its_next_start() {
    let (server, _, mut node) = running().await;
    node.kill();
    let path = node.data.join("identity.json");
    let mut identity: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    identity["trust_bundle_pem"] = rcgen::CertificateParams::default().self_signed(&other).unwrap().pem().into();
    std::fs::write(&path, serde_json::to_vec(&identity).unwrap()).unwrap();
    deploy(&server, &published(&server, "2.0.0"));
    node.start();
    newest(&server).await;
    runs(&node, "2.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_before_takes_its_first_root_once() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let version = deploy(&server, &published(&server, "1.0.0"));
    node.start();
    installed(&server, "dep_1", version).await;
    assert!(!node.data.join("trust.json").exists());

    // A first root that the known key has not signed, or whose own quorum has not.
    let (signs, root) = Signed::new(&server.key, &server.authority);
    server.world().signed = Some(signs);
    told(&server, "root-quorum").await;
    let introduced = |root: &Root, seeds: &[u8]| {
        let mut envelope = by(root, seeds);
        dsse::countersign(&mut envelope, &server.key).unwrap();
        envelope
    };
    signed(&server, |s| s.roots = vec![introduced(&root, &[1])]);
    told(&server, "root-quorum").await;
    signed(&server, |s| s.roots = vec![introduced(&root, &ROOTS)]);
    again(&mut node);
    let version = deploy(&server, &published(&server, "2.0.0"));
    installed(&server, "dep_1", version).await;

    // Never again by that key: it introduces another root, and signs a next one.
    let mut rogue = root.clone();
    for seed in ROOTS {
        rogue.remove(Role::Root, &app_package::keys::kid_of(&key(seed).verifying_key()));
        rogue.add(Role::Root, &key(seed + 100).verifying_key(), false);
    }
    rogue.version = 2;
    signed(&server, |s| {
        s.roots.push(introduced(&rogue, &[101, 102, 103]));
        s.roots[0] = introduced(&Root { version: 1, ..rogue.clone() }, &[101, 102, 103]);
    });
    deploy(&server, &published(&server, "3.0.0"));
    told(&server, "root-quorum").await;
    runs(&node, "2.0.0").await;
    node.kill();
    node.start();
    runs(&node, "2.0.0").await;
}
