//! Reads SBOM (SPDX JSON 2 and 3, `CycloneDX` JSON) and provenance (in-toto statements, bare or in a DSSE envelope) as far as a page shows
//! them. The bytes are strangers': bounded in size, and kept only up to [`MAX_PACKAGES`] packages and [`MAX_TEXT`] characters each. No
//! list is held whole: of an item is kept what a page shows of it, before the next one is read ([`each`]).

use std::fmt;

use app_package::dsse::{Envelope, IN_TOTO_TYPE};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use self::json::{First, Word, each, json};

mod json;

/// Longest document that is read, in bytes.
pub const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// Packages and subjects that are shown.
pub const MAX_PACKAGES: usize = 500;
/// Characters of one text.
const MAX_TEXT: usize = 300;
/// Licences of one package that are shown.
const MAX_LICENSES: usize = 10;

const SPDX: &str = "application/spdx+json";
const SPDX_TAGS: &str = "text/spdx";
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
const CYCLONEDX_XML: &str = "application/vnd.cyclonedx+xml";
const DSSE: &str = "application/vnd.dsse.envelope.v1+json";

/// Artifact types that hold such a document.
pub const TYPES: &[&str] = &[SPDX, SPDX_TAGS, CYCLONEDX, CYCLONEDX_XML, IN_TOTO_TYPE, DSSE];

/// A document as shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// What the app is made of.
    Sbom(Sbom),
    /// How it was made.
    Provenance(Provenance),
}

/// A software bill of materials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sbom {
    /// Standard and its version, such as `SPDX-2.3`.
    pub format: String,
    /// Name of the document, or of what it describes.
    pub name: String,
    /// Its own version, where it has one.
    pub version: String,
    /// Packages in it.
    pub total: usize,
    /// The first of them.
    pub packages: Vec<Package>,
}

/// A package of an SBOM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    /// Version; empty where none is said.
    pub version: String,
    /// Licences; empty where none is said.
    pub license: String,
}

/// A statement about how something was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// What kind of statement it is.
    pub predicate_type: String,
    /// Who built; empty where it does not say.
    pub builder: String,
    /// Type of the build; empty where it does not say.
    pub build_type: String,
    /// Whether it lies in a signed envelope; the signature is not verified.
    pub enveloped: bool,
    /// Subjects in it.
    pub total: usize,
    /// The first of them: name and digest.
    pub subjects: Vec<(String, String)>,
}

/// Why a document cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Longer than [`MAX_BYTES`].
    TooLarge,
    /// Its bytes are gone.
    Gone,
    /// SPDX tag-value or `CycloneDX` XML: stored, not read.
    OtherFormat,
    /// Not what its type says; the parser's words.
    Malformed(String),
}

/// Reads a document of an artifact type.
pub fn parse(artifact_type: &str, bytes: &[u8]) -> Result<Document, Fault> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Fault::TooLarge);
    }
    match artifact_type {
        SPDX => spdx(bytes).map(Document::Sbom),
        CYCLONEDX => cyclonedx(bytes).map(Document::Sbom),
        IN_TOTO_TYPE | DSSE => provenance(bytes).map(Document::Provenance),
        _ => Err(Fault::OtherFormat),
    }
}

fn lacks(what: &str) -> Fault {
    Fault::Malformed(format!("no {what}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spdx {
    #[serde(default, rename = "spdxVersion")]
    version: Word,
    #[serde(default)]
    name: Word,
    #[serde(default)]
    packages: First<SpdxPackage>,
    #[serde(default, rename = "@graph")]
    graph: SpdxGraph,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    #[serde(default)]
    name: Word,
    #[serde(default)]
    version_info: Word,
    #[serde(default)]
    license_concluded: Word,
    #[serde(default)]
    license_declared: Word,
}

/// An element of SPDX 3: everything is one, also packages, licences and who wrote the document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxElement {
    #[serde(default, rename = "type")]
    kind: Word,
    #[serde(default)]
    name: Word,
    #[serde(default)]
    spec_version: Word,
    #[serde(default, rename = "software_packageVersion")]
    version: Word,
}

/// What the elements of SPDX 3 say of their document.
#[derive(Default)]
struct SpdxGraph {
    spec: Word,
    name: Option<Word>,
    packages: First<Package>,
}

impl<'de> Deserialize<'de> for SpdxGraph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut graph = Self::default();
        each(deserializer, |element: SpdxElement| {
            if graph.spec.0.is_empty() {
                graph.spec = element.spec_version;
            }
            match element.kind.0.as_str() {
                "SpdxDocument" if graph.name.is_none() => graph.name = Some(element.name),
                // Licences of SPDX 3 are relations between elements; the page leaves them out.
                "software_Package" => {
                    graph.packages.push(Package { name: element.name.0, version: element.version.0, license: String::new() });
                }
                _ => {}
            }
        })?;
        Ok(graph)
    }
}

fn spdx(bytes: &[u8]) -> Result<Sbom, Fault> {
    let document: Spdx = json(bytes)?;
    if !document.version.0.is_empty() {
        // The concluded licence goes before the declared one; `NOASSERTION` means that it is unknown.
        let said = |word: &Word| Some(word.0.clone()).filter(|l| !l.is_empty() && l != "NOASSERTION");
        let package = |p: SpdxPackage| Package {
            license: said(&p.license_concluded).or_else(|| said(&p.license_declared)).unwrap_or_default(),
            name: p.name.0,
            version: p.version_info.0,
        };
        return Ok(Sbom {
            format: document.version.0,
            name: document.name.0,
            version: String::new(),
            total: document.packages.total,
            packages: document.packages.items.into_iter().map(package).collect(),
        });
    }
    let SpdxGraph { spec, name, packages } = document.graph;
    if spec.0.is_empty() {
        return Err(lacks("spdxVersion"));
    }
    Ok(Sbom {
        format: format!("SPDX-{}", spec.0),
        name: name.unwrap_or_default().0,
        version: String::new(),
        total: packages.total,
        packages: packages.items,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CycloneDx {
    #[serde(default)]
    bom_format: Word,
    #[serde(default)]
    spec_version: Word,
    #[serde(default)]
    version: Word,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    components: Components,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    component: Option<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default)]
    name: Word,
    #[serde(default)]
    version: Word,
    #[serde(default)]
    licenses: First<LicenseChoice, MAX_LICENSES>,
    #[serde(default)]
    components: Components,
}

impl Component {
    /// The package, and what it is made of.
    fn split(self) -> (Package, First<Package>) {
        let license = |choice: LicenseChoice| {
            let of = |l: License| if l.id.0.is_empty() { l.name.0 } else { l.id.0 };
            choice.license.map(of).filter(|l| !l.is_empty()).unwrap_or(choice.expression.0)
        };
        let licenses: Vec<String> = self.licenses.items.into_iter().map(license).filter(|l| !l.is_empty()).collect();
        (Package { name: self.name.0, version: self.version.0, license: licenses.join(", ") }, self.components.0)
    }
}

/// Components, each followed by those that it is made of, the first of all of them together. How deep they lie is bounded by the JSON
/// reader.
#[derive(Default)]
struct Components(First<Package>);

impl<'de> Deserialize<'de> for Components {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = First::default();
        each(deserializer, |component: Component| {
            let (package, parts) = component.split();
            found.push(package);
            let more = parts.total.saturating_sub(parts.items.len());
            parts.items.into_iter().for_each(|part| found.push(part));
            found.total += more;
        })?;
        Ok(Self(found))
    }
}

#[derive(Deserialize)]
struct LicenseChoice {
    #[serde(default)]
    expression: Word,
    #[serde(default)]
    license: Option<License>,
}

#[derive(Deserialize)]
struct License {
    #[serde(default)]
    id: Word,
    #[serde(default)]
    name: Word,
}

fn cyclonedx(bytes: &[u8]) -> Result<Sbom, Fault> {
    let document: CycloneDx = json(bytes)?;
    if document.bom_format.0 != "CycloneDX" {
        return Err(lacks("bomFormat"));
    }
    let about = document.metadata.and_then(|m| m.component);
    Ok(Sbom {
        format: format!("CycloneDX {}", document.spec_version.0).trim_end().to_owned(),
        name: about.map(|c| format!("{} {}", c.name.0, c.version.0).trim_end().to_owned()).unwrap_or_default(),
        version: document.version.0,
        total: document.components.0.total,
        packages: document.components.0.items,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(default, rename = "_type")]
    kind: Word,
    #[serde(default)]
    subject: First<StatementSubject>,
    #[serde(default)]
    predicate_type: Word,
    #[serde(default)]
    predicate: Option<Predicate>,
}

#[derive(Deserialize)]
struct StatementSubject {
    #[serde(default)]
    name: Word,
    #[serde(default)]
    digest: SubjectDigest,
}

/// A subject's digest as `algorithm:hex`: SHA-256, as the registry's own digests are, else the first that is named.
#[derive(Default)]
struct SubjectDigest(String);

impl<'de> Deserialize<'de> for SubjectDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digests;
        impl<'de> Visitor<'de> for Digests {
            type Value = SubjectDigest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("digests by algorithm")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SubjectDigest, A::Error> {
                let mut found = SubjectDigest::default();
                while let Some((Word(algorithm), Word(hex))) = map.next_entry()? {
                    if found.0.is_empty() || algorithm == "sha256" {
                        found.0 = format!("{}:{hex}", algorithm.chars().take(20).collect::<String>());
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Digests)
    }
}

/// SLSA provenance 0.2 has `builder` and `buildType`, 1.0 has them deeper. Other predicates have neither.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Predicate {
    builder: NamedPackage,
    build_type: Word,
    build_definition: Definition,
    run_details: Details,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Definition {
    build_type: Word,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    builder: NamedPackage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedPackage {
    id: Word,
}

/// An envelope as far as its payload is read: nobody verifies its signatures here, so their list is passed over.
#[derive(Deserialize)]
struct Enveloped {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
}

fn provenance(bytes: &[u8]) -> Result<Provenance, Fault> {
    let envelope = json::<Enveloped>(bytes).ok().filter(|e| e.payload_type == IN_TOTO_TYPE);
    let decoded = |e: Enveloped| Envelope { payload_type: e.payload_type, payload: e.payload, signatures: Vec::new() }.decoded();
    let payload = envelope.map(|e| decoded(e).ok_or_else(|| Fault::Malformed("payload".to_owned()))).transpose()?;
    let statement: Statement = json(payload.as_deref().unwrap_or(bytes))?;
    if !statement.kind.0.starts_with("https://in-toto.io/Statement/") {
        return Err(lacks("_type"));
    }
    let either = |a: Word, b: Word| if a.0.is_empty() { b.0 } else { a.0 };
    let predicate = statement.predicate.unwrap_or_default();
    Ok(Provenance {
        predicate_type: statement.predicate_type.0,
        builder: either(predicate.run_details.builder.id, predicate.builder.id),
        build_type: either(predicate.build_definition.build_type, predicate.build_type),
        enveloped: payload.is_some(),
        total: statement.subject.total,
        subjects: statement.subject.items.into_iter().map(|s| (s.name.0, s.digest.0)).collect(),
    })
}

#[cfg(test)]
mod tests;
