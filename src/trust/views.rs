//! Pages of signing keys and documents, and the part of other pages that shows what is attached to a release.

use app_package::evidence::{Signer, Standing};
use askama::Template;

use super::documents::{Document, Fault, Package};
use super::evidence::{Evidence, Shown, Signature};
use super::model::VendorKey;
use crate::http::page::{FormErrors, Page};
use crate::registry::model::type_word;
use crate::registry::service::Artifact;

/// A key as listed.
pub struct KeyRow {
    pub id: String,
    pub name: String,
    pub kid: String,
    pub created: String,
    /// When it was revoked, if it was.
    pub revoked: Option<String>,
}

impl KeyRow {
    pub fn of(page: &Page, key: &VendorKey) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            kid: key.kid.clone(),
            created: page.date(&key.created_at),
            revoked: key.revoked_at.map(|at| page.date(&at)),
        }
    }
}

/// `/vendor/keys`.
#[derive(Template)]
#[template(path = "trust/keys.html")]
pub struct KeysPage {
    pub page: Page,
    pub keys: Vec<KeyRow>,
    /// Where everyone finds them.
    pub address: String,
    pub name: String,
    pub public_key: String,
    pub errors: FormErrors,
}

/// One signature in words.
pub struct SignatureRow {
    pub signer: String,
    pub tone: &'static str,
    pub outcome: String,
    /// Name of the vendor's key.
    pub key: String,
    pub kid: String,
    pub at: String,
}

/// A document that is attached.
pub struct DocumentRow {
    pub kind: String,
    pub at: String,
    /// Its page, for those who may read it.
    pub href: Option<String>,
}

/// What is attached to a release, for the macros of `trust/parts.html`.
pub struct TrustView {
    pub signatures: Vec<SignatureRow>,
    pub documents: Vec<DocumentRow>,
}

impl TrustView {
    /// In the page's language; documents lead to their pages where the reader may open those.
    pub fn of(page: &Page, repository: &str, readable: bool, evidence: &Evidence) -> Self {
        let mut signatures = Vec::new();
        for signer in [Signer::Platform, Signer::Vendor] {
            let theirs = evidence.signatures.iter().filter(|s| s.judged.signer.unwrap_or(Signer::Vendor) == signer);
            let before = signatures.len();
            signatures.extend(theirs.map(|s| row(page, signer, Some(s))));
            if signatures.len() == before {
                signatures.push(row(page, signer, None));
            }
        }
        let document = |artifact: &Artifact| DocumentRow {
            kind: page.tk("registry-type-", type_word(artifact.kind.as_deref().unwrap_or_default())),
            at: page.datetime(&artifact.created_at),
            href: readable.then(|| document_address(repository, &artifact.digest)),
        };
        Self { signatures, documents: evidence.documents.iter().map(document).collect() }
    }
}

/// Address of a document's page.
pub fn document_address(repository: &str, digest: &str) -> String {
    format!("/documents/{digest}/{repository}")
}

fn row(page: &Page, signer: Signer, signature: Option<&Signature>) -> SignatureRow {
    let word = match signature {
        None => "none",
        Some(s) if s.revoked => "revoked",
        Some(s) => s.judged.standing.as_str(),
    };
    let tone = match signature.map(|s| s.judged.standing) {
        None => "grey",
        Some(Standing::Valid) => "green",
        Some(Standing::UnknownKey) => "amber",
        Some(_) => "red",
    };
    SignatureRow {
        signer: page.tk("trust-signer-", if signer == Signer::Platform { "platform" } else { "vendor" }),
        tone,
        outcome: page.tk("trust-standing-", word),
        key: signature.and_then(|s| s.key_name.clone()).unwrap_or_default(),
        kid: signature.map(|s| s.judged.kid.clone()).unwrap_or_default(),
        at: signature.map(|s| page.datetime(&s.at)).unwrap_or_default(),
    }
}

/// `/documents/{digest}/{name}`.
#[derive(Template)]
#[template(path = "trust/document.html")]
pub struct DocumentPage {
    pub page: Page,
    pub repository: String,
    pub digest: String,
    pub size: String,
    /// What the document says of itself: word and value.
    pub facts: Vec<(String, String)>,
    /// Why it cannot be shown.
    pub fault: String,
    /// Packages of an SBOM.
    pub packages: Option<Vec<Package>>,
    /// Subjects of a provenance: name, digest, and whether that is the release.
    pub subjects: Option<Vec<(String, String, bool)>>,
    /// Said where more are there than shown.
    pub cut: String,
}

impl DocumentPage {
    pub fn of(mut page: Page, shown: Shown) -> Self {
        page.title = page.tk("registry-type-", type_word(&shown.artifact_type));
        let mut view = Self {
            repository: shown.repository,
            digest: shown.digest,
            size: page.bytes(&i64::try_from(shown.size).unwrap_or(i64::MAX)),
            facts: Vec::new(),
            fault: String::new(),
            packages: None,
            subjects: None,
            cut: String::new(),
            page,
        };
        match shown.content {
            Ok(Document::Sbom(sbom)) => {
                view.facts(&[
                    ("document-name", sbom.name),
                    ("document-format", sbom.format),
                    ("document-version", sbom.version),
                    ("document-packages", sbom.total.to_string()),
                ]);
                view.cut(sbom.total, sbom.packages.len());
                view.packages = Some(sbom.packages);
            }
            Ok(Document::Provenance(provenance)) => {
                view.facts(&[
                    ("document-predicate", provenance.predicate_type),
                    ("document-builder", provenance.builder),
                    ("document-build-type", provenance.build_type),
                    ("document-subjects", provenance.total.to_string()),
                ]);
                if provenance.enveloped {
                    let words = (view.page.t("document-envelope"), view.page.t("document-envelope-unchecked"));
                    view.facts.push(words);
                }
                view.cut(provenance.total, provenance.subjects.len());
                let same = |digest: &str| shown.subject.as_deref() == Some(digest);
                view.subjects = Some(provenance.subjects.into_iter().map(|(name, digest)| (name, digest.clone(), same(&digest))).collect());
            }
            Err(Fault::Malformed(place)) => view.fault = view.page.t1("document-malformed", "place", place),
            Err(Fault::TooLarge) => view.fault = view.page.t("document-too-large"),
            Err(Fault::Gone) => view.fault = view.page.t("document-gone"),
            Err(Fault::OtherFormat) => view.fault = view.page.t("document-other-format"),
        }
        view
    }

    /// Facts that the document has.
    fn facts(&mut self, pairs: &[(&str, String)]) {
        let known = pairs.iter().filter(|(_, value)| !value.is_empty());
        self.facts = known.map(|(key, value)| (self.page.t(key), value.clone())).collect();
    }

    fn cut(&mut self, total: usize, shown: usize) {
        if total > shown {
            self.cut = self.page.t2("document-cut", "shown", shown, "total", total);
        }
    }
}
