//! What a node must refuse to run.

use app_package::keys::kid_of;
use app_package::license::{Claims, Enforcement};
use app_package::margo::{Extensions, OnnxDeployment};
use ed25519_dalek::SigningKey;
use serde_json::json;

use super::*;

const NODE: &str = "spiffe://td/margo/wfm/w/client/n1";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn keys() -> KeySet {
    let mut keys = KeySet::new();
    keys.insert(key().verifying_key());
    keys
}

fn claims() -> Claims {
    Claims {
        iss: "i".into(),
        sub: "o".into(),
        jti: "l".into(),
        iat: 0,
        nbf: 0,
        exp: Some(1_000_000),
        app: "acme/belt".into(),
        versions: "^1".into(),
        plan: "p".into(),
        nodes: vec![NODE.into()],
        node_limit: 1,
        grace_days: 1,
        enforcement: Enforcement::Block,
        safety: false,
        digests: vec![Digest::of(b"release").to_string()],
    }
}

fn wanted(claims: &Claims) -> Wanted {
    Wanted {
        id: "d".into(),
        document: Digest::of(b"document"),
        component: "belt".into(),
        release: ReleaseRef { repository: "acme/belt".into(), digest: Digest::of(b"release"), version: "1.2.3".parse().unwrap() },
        signature: None,
        license: license::sign(claims, &key(), &kid_of(&key().verifying_key())).unwrap(),
        parameters: Map::new(),
        place: String::new(),
        recalled: None,
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn code(change: impl FnOnce(&mut Claims), safety: bool, purpose: Purpose, now: i64) -> String {
    let mut claims = claims();
    change(&mut claims);
    match licensed(&wanted(&claims), &claims, safety, NODE, purpose, at(now)) {
        Ok(verdict) => verdict.code().to_owned(),
        Err(fault) => fault.code.into_owned(),
    }
}

#[test]
fn licences() {
    use Purpose::{Deploy, Run, Update};
    let day = 86_400;
    assert_eq!(code(|_| {}, false, Deploy, 500), "valid");
    assert_eq!(code(|c| c.nodes = vec!["spiffe://td/margo/wfm/w/client/n2".into()], false, Deploy, 500), "license-node-not-activated");
    assert_eq!(code(|c| c.app = "acme/other".into(), false, Deploy, 500), "license-scope-mismatch");
    assert_eq!(code(|c| c.digests = vec![Digest::of(b"x").to_string()], false, Deploy, 500), "license-version-not-covered");
    assert_eq!(code(|c| c.versions = "^2".into(), false, Deploy, 500), "license-version-not-covered");
    // Expiry: grace, then the end, except for safety-class and advisory.
    for purpose in [Deploy, Update] {
        assert_eq!(code(|_| {}, true, purpose, 1_000_000), "license-expired");
    }
    assert_eq!(code(|_| {}, false, Run, 1_000_000), "expired");
    assert_eq!(code(|_| {}, false, Run, 1_000_000 + day), "license-expired");
    assert_eq!(code(|_| {}, true, Run, 1_000_000 + 1000 * day), "expired");
    assert_eq!(code(|c| c.enforcement = Enforcement::Advisory, false, Run, 1_000_000 + day), "expired");
}

#[test]
fn licence_of_another_platform() {
    let mut strange = KeySet::new();
    strange.insert(SigningKey::from_bytes(&[4; 32]).verifying_key());
    let own = super::claims(&wanted(&claims()), &keys()).unwrap();
    assert_eq!(issued(&own), Some(at(0)));
    let fault = super::claims(&wanted(&claims()), &strange).unwrap_err();
    assert_eq!((fault.code.as_ref(), fault.source), ("license-unknown-key", "license"));
}

#[test]
fn signatures() {
    let wanted = wanted(&claims());
    let statement = ReleaseStatement {
        digest: wanted.release.digest.clone(),
        vendor: "acme".into(),
        app: "belt".into(),
        version: wanted.release.version.clone(),
        verdict: APPROVED.into(),
    };
    let check = |statement: &ReleaseStatement| {
        let envelope = statement.sign(&kid_of(&key().verifying_key()), &key()).to_bytes();
        signature(&wanted, &envelope, &keys()).map_err(|f| f.code.into_owned())
    };
    assert_eq!(check(&statement), Ok(()));
    let other = |code: &str| Err(code.to_owned());
    assert_eq!(check(&ReleaseStatement { digest: Digest::of(b"x"), ..statement.clone() }), other("signature-other-release"));
    assert_eq!(check(&ReleaseStatement { app: "other".into(), ..statement.clone() }), other("signature-other-release"));
    assert_eq!(check(&ReleaseStatement { version: "1.2.4".parse().unwrap(), ..statement.clone() }), other("signature-other-release"));
    assert_eq!(check(&ReleaseStatement { verdict: "rejected".into(), ..statement }), other("release-not-approved"));
    assert!(signature(&wanted, b"{}", &keys()).is_err());
}

fn document(change: impl FnOnce(&mut Extensions)) -> Result<Wanted, Fault> {
    let mut pithead = Extensions {
        release: wanted(&claims()).release,
        signature: Some(Digest::of(b"signature")),
        license: "x".into(),
        parameters: json!({ "limit": 3 }).as_object().unwrap().clone(),
        safety: true,
        place: "North".into(),
        recalled: None,
    };
    change(&mut pithead);
    let document = ApplicationDeployment::onnx(OnnxDeployment { id: "d", namespace: "n", device_id: "x", registry: "r", pithead });
    let yaml = serde_yaml_ng::to_string(&document).unwrap();
    Wanted::parse("d", &Digest::of(yaml.as_bytes()), yaml.as_bytes())
}

#[test]
fn documents() {
    let good = document(|_| {}).unwrap();
    assert_eq!((good.app(), good.slug(), good.component.as_str(), good.place.as_str()), ("acme/belt", "belt", "belt", "North"));
    assert_eq!(good.signature, Some(Digest::of(b"signature")));
    assert_eq!(document(|e| e.signature = None).unwrap().signature, None, "a server from before names none");
    for bad in ["belt", "../belt", "acme/be/lt", "acme/Belt", "/belt", "acme/"] {
        assert_eq!(document(|e| e.release.repository = bad.into()).unwrap_err().code, "deployment-document-invalid", "{bad}");
    }
    let digest = Digest::of(b"");
    assert_eq!(Wanted::parse("d", &digest, b"a: [").unwrap_err().code, "deployment-document-invalid");
    assert!(Wanted::parse("d", &digest, b"").is_err());
}

#[test]
fn ids() {
    assert!(is_deployment_id("dep_01-a.b"));
    for bad in ["", ".", "..", "a/b", "a b", "\u{fc}", "a\0"] {
        assert!(!is_deployment_id(bad), "{bad:?}");
    }
    assert!(!is_deployment_id(&"a".repeat(201)));
}
