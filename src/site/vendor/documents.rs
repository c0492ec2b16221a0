//! SBOM and provenance of a release.

use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::page::{Page, PageResult};
use crate::registry::model::type_word;
use crate::trust::documents::{Document, Fault, Package};
use crate::trust::evidence::{self, AttachedDocument};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/documents/{digest}/{name:.+}", web::get().to(document));
}

/// `/documents/{digest}/{name}`.
#[derive(Template)]
#[template(path = "vendor/document.html")]
pub struct DocumentPage {
    pub page: Page,
    pub repository: String,
    pub digest: String,
    pub size: String,
    /// Facts that the document states: word and value.
    pub facts: Vec<(String, String)>,
    /// Why the document cannot be shown.
    pub fault: String,
    /// Packages of an SBOM.
    pub packages: Option<Vec<Package>>,
    /// Subjects of a provenance: name, digest, and whether that is the release.
    pub subjects: Option<Vec<(String, String, bool)>>,
    /// Note that the list is cut; empty where it is not.
    pub cut: String,
}

impl DocumentPage {
    pub fn of(mut page: Page, shown: AttachedDocument) -> Self {
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

    /// Sets the facts, without those that the document leaves empty.
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

/// An SBOM or a provenance that is attached to something, for people.
async fn document(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    let (digest, name) = path.into_inner();
    let shown = evidence::document(&app, &actor, &name, &digest).await?;
    let page = Page::of(&req, "");
    page.clone().render(&DocumentPage::of(page, shown))
}
