//! Signing keys, signatures and attached documents on both backends.

use actix_web::HttpMessage as _;
use actix_web::body::to_bytes;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::web::Data;
use app_package::digest::Digest;
use app_package::dsse::{Envelope, IN_TOTO_TYPE, ReleaseStatement};
use app_package::evidence::{Signer, Standing, VendorStatement};
use app_package::keys::kid_of;
use app_package::oci::{
    DSSE_TYPE, Descriptor, EMPTY_BYTES, EMPTY_TYPE, ImageManifest, MANIFEST_TYPE, SIGNATURE_TYPE, VENDOR_SIGNATURE_TYPE, signature_manifest,
};
use app_package::public_key;
use diesel::prelude::*;
use ed25519_dalek::SigningKey;
use serde_json::json;

use super::documents::{Document, Fault, MAX_BYTES};
use super::evidence::{self, Evidence, Subject};
use super::model::MAX_ACTIVE;
use super::service;
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::audit_records;
use crate::base::error::Result;
use crate::registry;
use crate::testing::{self, each_backend};

const CYCLONEDX: &str = "application/vnd.cyclonedx+json";

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn pem(key: &SigningKey) -> String {
    public_key::to_pem(&key.verifying_key())
}

/// The code on a field of a refused form.
fn field(result: Result<String>) -> (String, &'static str) {
    let error = result.unwrap_err();
    assert_eq!(error.code, "invalid-input");
    error.fields.first().map(|f| (f.field.clone(), f.code)).unwrap()
}

async fn audited(app: &App, action: &'static str) -> i64 {
    app.db.read(move |conn| Ok(audit_records::table.filter(audit_records::action.eq(action)).count().get_result(conn)?)).await.unwrap()
}

#[tokio::test]
async fn owners_register_and_revoke_keys() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let (first, second) = (signer(1), signer(2));
        let kid = service::add(&app, &acme, " build server ", &pem(&first)).await.unwrap();
        assert_eq!(kid, kid_of(&first.verifying_key()));
        let jwk = service::public_set(&app, "acme".into()).await.unwrap().to_jwks()["keys"][0].clone();
        assert_eq!(jwk["kid"], kid);
        // The same again, also as a JWK; what is no public key; the platform's own.
        let (taken, key) = (("public_key".to_owned(), "key-taken"), "public_key".to_owned());
        assert_eq!(field(service::add(&app, &acme, "again", &pem(&first)).await), taken);
        assert_eq!(field(service::add(&app, &acme, "again", &jwk.to_string()).await), taken);
        assert_eq!(field(service::add(&app, &acme, "x", "rsa").await), (key.clone(), "key-malformed"));
        assert_eq!(field(service::add(&app, &acme, "x", &"x".repeat(5000)).await), (key.clone(), "key-too-long"));
        assert_eq!(field(service::add(&app, &acme, "x", &pem(&app.keys.get().approve.key)).await), (key.clone(), "key-of-platform"));
        assert_eq!(field(service::add(&app, &acme, " ", &pem(&second)).await), ("name".to_owned(), "required"));

        // Members see, and change nothing; others see nothing of it.
        let organization = acme.organization_id().unwrap().to_owned();
        let member = testing::member(&app, &organization, Role::Member, "m@acme.example").await;
        assert_eq!(service::list(&app, &member).await.unwrap().len(), 1);
        assert_eq!(service::add(&app, &member, "x", &pem(&second)).await.unwrap_err().code, "not-permitted");
        let id = service::list(&app, &acme).await.unwrap()[0].id.clone();
        assert_eq!(service::revoke(&app, &member, id.clone()).await.unwrap_err().code, "not-permitted");
        let other = testing::vendor(&app, "other").await;
        assert_eq!(service::revoke(&app, &other, id.clone()).await.unwrap_err().code, "key-over");
        assert!(service::list(&app, &other).await.unwrap().is_empty());
        assert!(service::public_set(&app, "other".into()).await.unwrap().is_empty());
        testing::operator(&app, "mine").await;
        for slug in ["mine", "nobody"] {
            assert_eq!(service::public_set(&app, slug.into()).await.unwrap_err().code, "organization");
        }

        // A revoked key is in the public set no more, and is never taken again.
        service::revoke(&app, &acme, id.clone()).await.unwrap();
        assert_eq!(service::revoke(&app, &acme, id).await.unwrap_err().code, "key-over");
        assert!(service::public_set(&app, "acme".into()).await.unwrap().is_empty());
        assert_eq!(field(service::add(&app, &acme, "again", &pem(&first)).await), taken);
        for n in 0..MAX_ACTIVE {
            service::add(&app, &acme, "k", &pem(&signer(100 + u8::try_from(n).unwrap()))).await.unwrap();
        }
        assert_eq!(field(service::add(&app, &acme, "one more", &pem(&second)).await), (key, "too-many-keys"));
        assert_eq!(
            (audited(&app, "vendor-key.added").await, audited(&app, "vendor-key.revoked").await),
            (1 + i64::try_from(MAX_ACTIVE).unwrap(), 1)
        );
    })
    .await;
}

/// A repository with something in it that stands for a release.
struct Fixture {
    app: App,
    vendor: Actor,
    repository_id: String,
    subject: Descriptor,
    statement: VendorStatement,
}

impl Fixture {
    async fn new(app: &App) -> Self {
        let vendor = testing::vendor(app, "acme").await;
        let organization = vendor.organization_id().unwrap().to_owned();
        let now = app.clock.now();
        let make =
            move |conn: &mut crate::base::db::Conn| registry::service::ensure_repository(conn, &organization, "acme/belt-watch", now);
        let repository_id = app.db.write(make).await.unwrap().id;
        let mut fixture = Self {
            app: app.clone(),
            vendor,
            repository_id,
            subject: Descriptor::of(MANIFEST_TYPE, b""),
            statement: VendorStatement {
                digest: Digest::of(b""),
                vendor: "acme".into(),
                app: "belt-watch".into(),
                version: semver::Version::new(1, 0, 0),
            },
        };
        fixture.subject = fixture.put(&fixture.image("application/vnd.test", b"weights", None).await).await;
        fixture.statement.digest = fixture.subject.digest.clone();
        fixture
    }

    async fn blob(&self, bytes: &[u8]) {
        registry::service::store_blob_small(&self.app, &self.repository_id, bytes).await.unwrap();
    }

    async fn image(&self, artifact_type: &str, layer: &[u8], subject: Option<Descriptor>) -> Vec<u8> {
        self.blob(EMPTY_BYTES).await;
        self.blob(layer).await;
        ImageManifest {
            schema_version: 2,
            media_type: Some(MANIFEST_TYPE.into()),
            artifact_type: Some(artifact_type.into()),
            config: Descriptor::of(EMPTY_TYPE, EMPTY_BYTES),
            layers: vec![Descriptor::of(artifact_type, layer)],
            subject,
            annotations: None,
        }
        .to_bytes()
    }

    async fn put(&self, manifest: &[u8]) -> Descriptor {
        let (repository, bytes, now) = (self.repository_id.clone(), bytes::Bytes::copy_from_slice(manifest), self.app.clock.now());
        let put = move |conn: &mut crate::base::db::Conn| {
            registry::service::put_manifest_in(conn, &repository, bytes.clone(), registry::model::Visibility::Private, now)
        };
        self.app.db.write(put).await.unwrap();
        // So that "newest" has a meaning.
        self.app.clock.advance(chrono::TimeDelta::seconds(1));
        Descriptor::of(MANIFEST_TYPE, manifest)
    }

    /// Attaches a signature; gives the digest of its envelope.
    async fn attach(&self, envelope: &[u8]) -> Digest {
        self.attach_as(SIGNATURE_TYPE, envelope).await
    }

    async fn attach_as(&self, artifact_type: &str, envelope: &[u8]) -> Digest {
        self.blob(EMPTY_BYTES).await;
        self.blob(envelope).await;
        self.put(&signature_manifest(artifact_type, &self.subject, envelope)).await;
        Digest::of(envelope)
    }

    fn sign(&self, key: &SigningKey) -> Envelope {
        self.statement.sign(&kid_of(&key.verifying_key()), key)
    }

    async fn evidence(&self) -> Evidence {
        let subject = Subject {
            organization_id: self.vendor.organization_id().unwrap().to_owned(),
            vendor: "acme".into(),
            app: "belt-watch".into(),
            version: "1.0.0".into(),
            digest: self.subject.digest.to_string(),
        };
        evidence::of_release(&self.app, &subject).await.unwrap()
    }

    async fn standing(&self, signer: Signer) -> Option<Standing> {
        self.evidence().await.best(signer).map(|s| s.judged.standing)
    }
}

#[tokio::test]
async fn signatures_are_judged_from_the_stored_bytes() {
    each_backend(|app| async move {
        let fixture = Fixture::new(&app).await;
        assert!(fixture.evidence().await.signatures.is_empty());
        let (own, stranger) = (signer(1), signer(2));
        fixture.attach(&fixture.sign(&stranger).to_bytes()).await;
        assert_eq!(fixture.standing(Signer::Vendor).await, Some(Standing::UnknownKey));
        let kid = service::add(&app, &fixture.vendor, "build server", &pem(&own)).await.unwrap();
        // Signed with another key under the id of a good one; changed after it was signed; of another version.
        let mut forged = fixture.sign(&stranger);
        forged.signatures[0].keyid.clone_from(&kid);
        fixture.attach(&forged.to_bytes()).await;
        assert_eq!(fixture.standing(Signer::Vendor).await, Some(Standing::UnknownKey), "the better one is told first");
        assert_eq!(fixture.evidence().await.signatures[1].judged.standing, Standing::DoesNotFit);
        let other = VendorStatement { version: semver::Version::new(1, 0, 1), ..fixture.statement.clone() };
        fixture.attach(&other.sign(&kid, &own).to_bytes()).await;
        assert_eq!(fixture.standing(Signer::Vendor).await, Some(Standing::OtherRelease));
        // The vendor approves itself.
        let s = &fixture.statement;
        let approval = ReleaseStatement {
            digest: s.digest.clone(),
            vendor: s.vendor.clone(),
            app: s.app.clone(),
            version: s.version.clone(),
            verdict: "approved".into(),
        };
        fixture.attach(&approval.sign(&kid, &own).to_bytes()).await;
        assert_eq!(fixture.standing(Signer::Platform).await, Some(Standing::UnknownKey));
        let keys = app.keys.get();
        let approved = approval.sign(&keys.approve.kid, &keys.approve.key).to_bytes();
        let copied = fixture.attach_as(VENDOR_SIGNATURE_TYPE, &approved).await;
        assert_eq!(fixture.standing(Signer::Platform).await, Some(Standing::UnknownKey), "attached by somebody else");
        let attached = fixture.attach(&approved).await;
        assert_eq!((copied, fixture.standing(Signer::Platform).await), (attached, Some(Standing::Valid)));
        let envelope = fixture.attach_as(VENDOR_SIGNATURE_TYPE, &fixture.sign(&own).to_bytes()).await;
        let found = fixture.evidence().await;
        let best = found.best(Signer::Vendor).unwrap();
        assert_eq!((best.judged.standing, best.key_name.as_deref(), best.revoked), (Standing::Valid, Some("build server"), false));
        assert_eq!(found.signatures.len(), 7);

        // A revoked key: its signature is a stranger's from then on, and the page says why.
        let id = service::list(&app, &fixture.vendor).await.unwrap()[0].id.clone();
        service::revoke(&app, &fixture.vendor, id).await.unwrap();
        let found = fixture.evidence().await;
        let best = found.signatures.iter().find(|s| s.judged.kid == kid && s.judged.signer == Some(Signer::Vendor)).unwrap();
        assert_eq!((best.judged.standing, best.key_name.as_deref(), best.revoked), (Standing::UnknownKey, Some("build server"), true));

        // A byte flipped on disk, and bytes that are gone.
        let path = app.blobs.local_path(&envelope).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        let replaced = path.with_extension("changed");
        std::fs::write(&replaced, bytes).unwrap();
        std::fs::rename(&replaced, &path).unwrap();
        let malformed = |evidence: Evidence| evidence.signatures.iter().filter(|s| s.judged.standing == Standing::Malformed).count();
        assert_eq!(malformed(fixture.evidence().await), 1);
        std::fs::remove_file(path).unwrap();
        assert_eq!(malformed(fixture.evidence().await), 1);
        // A manifest that calls itself a signature and has no envelope.
        let empty = fixture.image(SIGNATURE_TYPE, b"x", Some(fixture.subject.clone())).await;
        fixture.put(&empty).await;
        assert_eq!(malformed(fixture.evidence().await), 2);
        assert_eq!(fixture.standing(Signer::Platform).await, Some(Standing::Valid));
    })
    .await;
}

async fn get(app: &App, who: &Actor, path: &str, language: &str) -> (StatusCode, String) {
    let service = init_service(actix_web::App::new().app_data(Data::new(app.clone())).configure(crate::site::vendor::configure)).await;
    let request = TestRequest::default().method(Method::GET).uri(path).insert_header(("accept-language", language)).to_request();
    request.extensions_mut().insert(who.clone());
    match try_call_service(&service, request).await {
        Ok(response) => {
            let status = response.status();
            (status, String::from_utf8(to_bytes(response.into_body()).await.unwrap().to_vec()).unwrap())
        }
        Err(e) => (e.error_response().status(), String::new()),
    }
}

#[tokio::test]
async fn documents_are_read_by_those_who_may() {
    each_backend(|app| async move {
        let fixture = Fixture::new(&app).await;
        let subject = || Some(fixture.subject.clone());
        let sbom = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": {"name": "belt-watch"}},
            "components": [{"name": "<numpy>", "version": "2.1.0", "licenses": [{"license": {"id": "BSD-3-Clause"}}]}]});
        let sbom = fixture.put(&fixture.image(CYCLONEDX, sbom.to_string().as_bytes(), subject()).await).await;
        let statement = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
            "subject": [{"name": "acme/belt-watch", "digest": {"sha256": fixture.subject.digest.hex()}}, {"name": "z", "digest": {"sha256": "00"}}],
            "predicate": {"runDetails": {"builder": {"id": "https://ci.acme.example"}}}});
        let statement = fixture.put(&fixture.image(IN_TOTO_TYPE, statement.to_string().as_bytes(), subject()).await).await;
        let broken = fixture.put(&fixture.image(CYCLONEDX, b"{\"bomFormat\": ", subject()).await).await;
        let other = fixture.put(&fixture.image("application/vnd.test.note", b"note", subject()).await).await;
        let large = vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1];
        let large = fixture.put(&fixture.image(CYCLONEDX, &large, subject()).await).await;
        let kinds: Vec<Option<String>> = fixture.evidence().await.documents.into_iter().map(|d| d.kind).collect();
        assert_eq!(kinds.len(), 4, "{kinds:?}");

        let name = "acme/belt-watch";
        let read = async |actor: &Actor, of: &Descriptor| evidence::document(&app, actor, name, of.digest.as_str()).await;
        let shown = read(&fixture.vendor, &sbom).await.unwrap();
        let Ok(Document::Sbom(found)) = shown.content else { panic!("an SBOM") };
        assert_eq!((found.name.as_str(), found.total), ("belt-watch", 1));
        assert!(matches!(read(&fixture.vendor, &broken).await.unwrap().content, Err(Fault::Malformed(_))));
        assert_eq!(read(&fixture.vendor, &large).await.unwrap().content, Err(Fault::TooLarge));
        for missing in [&other, &fixture.subject, &Descriptor::of(MANIFEST_TYPE, b"no such thing")] {
            assert_eq!(read(&fixture.vendor, missing).await.unwrap_err().code, "document");
        }
        let moderator = testing::platform(&app, Role::Moderator).await;
        assert!(read(&moderator, &sbom).await.is_ok());
        // No organisation fills the queue.
        let whose = || crate::base::open::Whose::Documents(fixture.vendor.organization_id().unwrap().to_owned());
        let held = [whose(), whose()].map(|whose| app.open.enter(whose, 2).unwrap());
        assert_eq!(read(&fixture.vendor, &sbom).await.unwrap_err().code, "too-many-connections");
        assert!(read(&moderator, &sbom).await.is_ok());
        drop(held);
        let stranger = testing::vendor(&app, "other").await;
        assert_eq!(read(&stranger, &sbom).await.unwrap_err().code, "document");
        let mine = testing::operator(&app, "mine").await;
        assert_eq!(read(&mine, &sbom).await.unwrap_err().code, "not-permitted");
        assert_eq!(read(&Actor::Anonymous, &sbom).await.unwrap_err().code, "sign-in-required");

        // As pages.
        let page = async |of: &Descriptor, language: &str| {
            let (status, html) = get(&app, &fixture.vendor, &format!("/documents/{}/{name}", of.digest), language).await;
            assert_eq!(status, StatusCode::OK);
            html
        };
        let html = page(&sbom, "en").await;
        assert!(html.contains("&#60;numpy&#62;") && html.contains("BSD-3-Clause") && html.contains("CycloneDX 1.6"), "{html}");
        let html = page(&statement, "zh-CN").await;
        assert!(html.contains("https://ci.acme.example") && html.contains("slsa.dev"), "{html}");
        assert_eq!(html.matches("本版本").count(), 1, "only the subject that is this release is marked");
        assert!(page(&broken, "en").await.contains("not what its type says"));
        assert!(page(&large, "en").await.contains("longer than 8 MiB"));
    })
    .await;
}

#[tokio::test]
async fn the_page_of_keys_shows_forms_to_owners_only() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        service::add(&app, &acme, "构建机", &pem(&signer(1))).await.unwrap();
        let (status, html) = get(&app, &acme, "/vendor/keys", "zh-CN").await;
        assert!(status == StatusCode::OK && html.contains("构建机") && html.contains("/vendor/keys/revoke"), "{html}");
        let member = testing::member(&app, acme.organization_id().unwrap(), Role::Member, "m@acme.example").await;
        let (status, html) = get(&app, &member, "/vendor/keys", "en").await;
        assert!(status == StatusCode::OK && html.contains("构建机") && !html.contains("<form class=\"form\""), "{html}");
        assert!(!html.contains("/vendor/keys/revoke"));
        let (status, body) = get(&app, &Actor::Anonymous, "/vendors/acme/keys.json", "en").await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, body["keys"].as_array().unwrap().len()), (StatusCode::OK, 1));
        assert!(body["keys"][0].get("d").is_none());
        assert_eq!(get(&app, &Actor::Anonymous, "/vendors/nobody/keys.json", "en").await.0, StatusCode::NOT_FOUND);
    })
    .await;
}

/// What the platform attaches and what `signature_manifest` makes is what the pages look for.
#[test]
fn a_signature_has_one_envelope() {
    let manifest = ImageManifest::parse(&signature_manifest(SIGNATURE_TYPE, &Descriptor::of(MANIFEST_TYPE, b"x"), b"{}")).unwrap();
    assert_eq!(manifest.layers.iter().filter(|l| l.media_type == DSSE_TYPE).count(), 1);
    assert_eq!(manifest.effective_artifact_type(), SIGNATURE_TYPE);
}
