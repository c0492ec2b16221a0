//! Signatures and documents of a release, with their standing in words.

use app_package::evidence::{Signer, Standing};

use crate::http::page::Page;
use crate::registry::model::type_word;
use crate::registry::service::Artifact;
use crate::trust::evidence::{Evidence, Signature};

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
    /// Page of the document, for readers who may open it.
    pub href: Option<String>,
}

/// Signatures and documents of a release, for the macros of `parts/trust.html`.
pub struct TrustView {
    pub signatures: Vec<SignatureRow>,
    pub documents: Vec<DocumentRow>,
}

impl TrustView {
    /// In the page's language; `readable`: the reader may open the documents' pages.
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
