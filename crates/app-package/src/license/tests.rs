use super::*;
use crate::keys::KeySet;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ed25519_dalek::SigningKey;

const NODE: &str = "spiffe://mine/margo/wfm/p/client/n1";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn claims() -> Claims {
    Claims {
        iss: "https://pithead.example".into(),
        sub: "org_1".into(),
        jti: "lic_1".into(),
        iat: at("2026-01-01T00:00:00Z").timestamp(),
        nbf: at("2026-01-01T00:00:00Z").timestamp(),
        exp: Some(at("2026-12-31T16:00:00Z").timestamp()),
        app: "deepseam/belt-watch".into(),
        versions: "^1".into(),
        plan: "yearly".into(),
        nodes: vec![NODE.into()],
        node_limit: 2,
        grace_days: 7,
        enforcement: Enforcement::Block,
        safety: false,
        digests: vec![],
    }
}

fn keys() -> (SigningKey, String, KeySet) {
    let key = SigningKey::from_bytes(&[5; 32]);
    let mut set = KeySet::new();
    let kid = set.insert(key.verifying_key());
    (key, kid, set)
}

/// The verdict after changing terms and context.
fn judge(change: impl FnOnce(&mut Terms, &mut Context<'_>)) -> Verdict {
    let (version, digest) = (semver::Version::new(1, 4, 2), Digest::of(b"release"));
    let mut terms = claims().terms().unwrap();
    let mut context = Context {
        now: at("2026-06-01T00:00:00Z"),
        node: Some(NODE),
        app: "deepseam/belt-watch",
        version: &version,
        digest: &digest,
        purpose: Purpose::Run,
        active_nodes: 1,
    };
    change(&mut terms, &mut context);
    evaluate(&terms, &context)
}

#[test]
fn valid_until_the_end_or_for_ever() {
    let end = at("2026-12-31T16:00:00Z");
    assert_eq!(judge(|_, _| {}), Verdict::Valid { until: Some(end) });
    assert_eq!(judge(|_, c| c.now = end - TimeDelta::seconds(1)), Verdict::Valid { until: Some(end) });
    assert_eq!(judge(|t, _| t.expires = None), Verdict::Valid { until: None });
}

#[test]
fn expired_with_and_without_grace() {
    let (end, grace) = (at("2026-12-31T16:00:00Z"), at("2027-01-07T16:00:00Z"));
    assert_eq!(judge(|_, c| c.now = end), Verdict::Expired { grace_until: Some(grace) });
    assert_eq!(judge(|_, c| c.now = grace - TimeDelta::seconds(1)), Verdict::Expired { grace_until: Some(grace) });
    assert_eq!(judge(|_, c| c.now = grace), Verdict::Expired { grace_until: None });
    let none = judge(|t, c| {
        t.grace_days = 0;
        c.now = end;
    });
    assert_eq!(none, Verdict::Expired { grace_until: None });
    let endless = judge(|t, c| {
        t.grace_days = u32::MAX;
        c.now = end;
    });
    assert!(matches!(endless, Verdict::Expired { grace_until: Some(_) }));
}

#[test]
fn not_yet_valid_allows_for_skew() {
    let start = at("2026-01-01T00:00:00Z");
    assert_eq!(judge(|_, c| c.now = start - TimeDelta::seconds(CLOCK_SKEW_SECONDS + 1)), Verdict::NotYetValid);
    assert!(matches!(judge(|_, c| c.now = start - TimeDelta::seconds(CLOCK_SKEW_SECONDS)), Verdict::Valid { .. }));
}

#[test]
fn suspended_revoked_and_scope() {
    assert_eq!(judge(|t, _| t.standing = Standing::Suspended), Verdict::Suspended);
    assert_eq!(judge(|t, _| t.standing = Standing::Revoked), Verdict::Revoked);
    assert_eq!(judge(|_, c| c.app = "deepseam/other"), Verdict::ScopeMismatch);
}

#[test]
fn versions_and_digests() {
    assert_eq!(judge(|t, _| t.versions = "^2".parse().unwrap()), Verdict::VersionNotCovered);
    assert_eq!(judge(|t, _| t.digests = vec![Digest::of(b"other")]), Verdict::VersionNotCovered);
    assert!(matches!(judge(|t, _| t.digests = vec![Digest::of(b"release")]), Verdict::Valid { .. }));
    let pre = semver::Version::parse("1.0.0-rc.1").unwrap();
    assert!(covers(&semver::VersionReq::STAR, &pre));
    assert!(!covers(&"^1".parse().unwrap(), &pre));
}

#[test]
fn nodes_and_their_limit() {
    let stranger = "spiffe://mine/margo/wfm/p/client/n9";
    assert_eq!(judge(|_, c| c.node = Some(stranger)), Verdict::NodeNotActivated);
    let full = judge(|_, c| {
        c.node = Some(stranger);
        c.active_nodes = 2;
        c.purpose = Purpose::Deploy;
    });
    assert_eq!(full, Verdict::TooManyNodes { limit: 2 });
    let no_node = judge(|_, c| {
        c.node = None;
        c.active_nodes = 2;
    });
    assert_eq!(no_node, Verdict::TooManyNodes { limit: 2 });
    assert!(matches!(judge(|_, c| c.node = None), Verdict::Valid { .. }));
    for (purpose, verdict) in [(Purpose::Deploy, "too-many-nodes"), (Purpose::Update, "valid"), (Purpose::Run, "valid")] {
        let found = judge(|_, c| {
            c.active_nodes = 3;
            c.purpose = purpose;
        });
        assert_eq!(found.code(), verdict, "limit lowered below what runs, {purpose:?}");
    }
}

#[test]
fn what_nobody_can_mend_comes_first() {
    let found = judge(|t, c| {
        t.standing = Standing::Revoked;
        c.now = at("2030-01-01T00:00:00Z");
        c.node = None;
    });
    assert_eq!(found, Verdict::Revoked);
}

#[test]
fn what_each_verdict_allows() {
    use Enforcement::{Advisory, Block};
    let grace = Some(at("2027-01-01T00:00:00Z"));
    // verdict, Run under block, Run under advisory, Deploy and Update
    let table = [
        (Verdict::Valid { until: None }, true, true, true),
        (Verdict::Expired { grace_until: grace }, true, true, false),
        (Verdict::Expired { grace_until: None }, false, true, false),
        (Verdict::NotYetValid, false, true, false),
        (Verdict::Suspended, false, true, false),
        (Verdict::TooManyNodes { limit: 1 }, false, true, false),
        (Verdict::Revoked, false, false, false),
        (Verdict::NodeNotActivated, false, false, false),
        (Verdict::VersionNotCovered, false, false, false),
        (Verdict::ScopeMismatch, false, false, false),
    ];
    for (verdict, block, advisory, change) in table {
        assert_eq!(verdict.allows(Purpose::Run, false, Block), block, "{verdict:?}");
        assert_eq!(verdict.allows(Purpose::Run, false, Advisory), advisory, "{verdict:?}");
        for safety in [false, true] {
            for enforcement in [Block, Advisory] {
                assert!(!safety || verdict.allows(Purpose::Run, safety, enforcement), "safety never stops: {verdict:?}");
                for purpose in [Purpose::Deploy, Purpose::Update] {
                    assert_eq!(verdict.allows(purpose, safety, enforcement), change, "{verdict:?} {purpose:?}");
                }
            }
        }
    }
}

#[test]
fn ends_with_the_local_day() {
    let date = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
    let east = |h: i32| FixedOffset::east_opt(h * 3600).unwrap();
    assert_eq!(end_of_local_day(date(2026, 12, 31), east(8)), at("2026-12-31T16:00:00Z"));
    assert_eq!(end_of_local_day(date(2026, 12, 31), east(0)), at("2027-01-01T00:00:00Z"));
    assert_eq!(end_of_local_day(date(2024, 2, 28), east(-7)), at("2024-02-29T07:00:00Z"));
    assert_eq!(end_of_local_day(NaiveDate::MAX, east(8)), DateTime::<Utc>::MAX_UTC);
}

#[test]
fn verdict_json_carries_its_code() {
    let verdict = Verdict::TooManyNodes { limit: 3 };
    let json = serde_json::to_value(verdict).unwrap();
    assert_eq!(json, serde_json::json!({"verdict": verdict.code(), "limit": 3}));
}

#[test]
fn token_round_trip_whatever_the_time() {
    let (key, kid, set) = keys();
    let old = Claims { exp: Some(1), nbf: i64::from(u32::MAX), ..claims() };
    for claims in [claims(), old, Claims { exp: None, ..claims() }] {
        assert_eq!(verify(&sign(&claims, &key, &kid).unwrap(), &set), Ok(claims));
    }
    let token = sign(&claims(), &key, &kid).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&B64.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(header, serde_json::json!({"typ": "JWT", "alg": "EdDSA", "kid": kid}));
}

#[test]
fn forged_tokens() {
    let (key, kid, set) = keys();
    let good = sign(&claims(), &key, &kid).unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let body = serde_json::to_vec(&Claims { node_limit: 999, ..claims() }).unwrap();
    let changed = format!("{}.{}.{}", parts[0], B64.encode(body), parts[2]);
    assert_eq!(verify(&changed, &set), Err(LicenseError::BadSignature));
    let other = SigningKey::from_bytes(&[6; 32]);
    assert_eq!(verify(&sign(&claims(), &other, &kid).unwrap(), &set), Err(LicenseError::BadSignature));
    assert_eq!(verify(&sign(&claims(), &other, "unknown").unwrap(), &set), Err(LicenseError::UnknownKey));
    assert_eq!(verify(&good, &KeySet::new()), Err(LicenseError::UnknownKey));
    // An HMAC with the public key as its secret, the classic confusion.
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some(kid.clone());
    let secret = jsonwebtoken::EncodingKey::from_secret(key.verifying_key().as_bytes());
    let confused = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
    assert_eq!(verify(&confused, &set), Err(LicenseError::Algorithm));
    let none = format!("{}.{}.", B64.encode(format!(r#"{{"alg":"none","typ":"JWT","kid":"{kid}"}}"#)), parts[1]);
    assert_eq!(verify(&none, &set), Err(LicenseError::Malformed));
    for garbage in ["", "a.b.c", "...", &"a".repeat(70_000), good.rsplit_once('.').unwrap().0] {
        assert!(verify(garbage, &set).is_err(), "{garbage}");
    }
}

#[test]
fn claims_out_of_shape_are_neither_signed_nor_taken() {
    let (key, kid, set) = keys();
    let bad = [
        Claims { versions: "newest".into(), ..claims() },
        Claims { app: "belt-watch".into(), ..claims() },
        Claims { app: "a/b/c".into(), ..claims() },
        Claims { digests: vec!["sha256:1".into()], ..claims() },
        Claims { exp: Some(i64::MAX), ..claims() },
        Claims { sub: String::new(), ..claims() },
        Claims { nodes: vec!["x".into(); 1_001], ..claims() },
    ];
    for claims in bad {
        assert_eq!(sign(&claims, &key, &kid), Err(LicenseError::Shape), "{claims:?}");
    }
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = Some(kid);
    let der: Vec<u8> = hex::decode("302e020100300506032b657004220420").unwrap().into_iter().chain([5; 32]).collect();
    let token = jsonwebtoken::encode(&header, &serde_json::json!({"sub": "x"}), &jsonwebtoken::EncodingKey::from_ed_der(&der)).unwrap();
    assert_eq!(verify(&token, &set), Err(LicenseError::Shape));
}
