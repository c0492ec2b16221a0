//! Reads SBOM (SPDX JSON 2 and 3, `CycloneDX` JSON) and provenance (in-toto statements, bare or in a DSSE envelope) as far as a page shows
//! them. The bytes are strangers': bounded in size, and kept only up to [`MAX_PACKAGES`] packages and [`MAX_TEXT`] characters each.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use app_package::dsse::{Envelope, IN_TOTO_TYPE};
use app_package::path::invisible;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

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

/// A field that should hold a text; a number counts as its text, anything else as empty.
#[derive(Debug, Default)]
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.chars().filter(|c| !c.is_control() && !invisible(*c)).take(MAX_TEXT).collect()))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Word, E> {
                Ok(Word(n.to_string()))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Word, E> {
                Ok(Word(n.to_string()))
            }
            fn visit_f64<E>(self, n: f64) -> Result<Word, E> {
                Ok(Word(n.to_string()))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Word, E> {
                Ok(Word::default())
            }
            fn visit_unit<E>(self) -> Result<Word, E> {
                Ok(Word::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Word, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Word::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Word::default())
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A list of which the first items are kept and all are counted.
#[derive(Debug)]
struct First<T> {
    items: Vec<T>,
    total: usize,
}

impl<T> Default for First<T> {
    fn default() -> Self {
        Self { items: Vec::new(), total: 0 }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = First<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(First::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut found = First::default();
                while found.items.len() < MAX_PACKAGES {
                    let Some(item) = seq.next_element()? else { return Ok(found) };
                    found.items.push(item);
                    found.total += 1;
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    found.total += 1;
                }
                Ok(found)
            }
        }
        deserializer.deserialize_any(Items(PhantomData))
    }
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

/// Reads JSON; the fault says where it ended, in the parser's words.
fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    // Some tools write a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|e| Fault::Malformed(e.to_string().chars().take(MAX_TEXT).collect()))
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
    graph: Vec<SpdxElement>,
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
    let spec = document.graph.iter().map(|e| &e.spec_version.0).find(|v| !v.is_empty()).ok_or_else(|| lacks("spdxVersion"))?;
    let format = format!("SPDX-{spec}");
    let name = document.graph.iter().find(|e| e.kind.0 == "SpdxDocument").map(|e| e.name.0.clone()).unwrap_or_default();
    let packages = document.graph.into_iter().filter(|e| e.kind.0 == "software_Package");
    // Licences of SPDX 3 are relations between elements; the page leaves them out.
    let mut packages: Vec<Package> = packages.map(|e| Package { name: e.name.0, version: e.version.0, license: String::new() }).collect();
    let total = packages.len();
    packages.truncate(MAX_PACKAGES);
    Ok(Sbom { format, name, version: String::new(), total, packages })
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
    components: First<Component>,
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
    licenses: First<LicenseChoice>,
    #[serde(default)]
    components: First<Component>,
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
    let mut sbom = Sbom {
        format: format!("CycloneDX {}", document.spec_version.0).trim_end().to_owned(),
        name: about.map(|c| format!("{} {}", c.name.0, c.version.0).trim_end().to_owned()).unwrap_or_default(),
        version: document.version.0,
        total: 0,
        packages: Vec::new(),
    };
    collect(document.components, &mut sbom);
    Ok(sbom)
}

/// Components, each followed by those that it is made of. How deep they lie is bounded by the JSON reader.
fn collect(components: First<Component>, sbom: &mut Sbom) {
    sbom.total += components.total;
    for component in components.items {
        if sbom.packages.len() < MAX_PACKAGES {
            let license = |choice: LicenseChoice| {
                let of = |l: License| if l.id.0.is_empty() { l.name.0 } else { l.id.0 };
                choice.license.map(of).filter(|l| !l.is_empty()).unwrap_or(choice.expression.0)
            };
            let licenses: Vec<String> =
                component.licenses.items.into_iter().take(MAX_LICENSES).map(license).filter(|l| !l.is_empty()).collect();
            sbom.packages.push(Package { name: component.name.0, version: component.version.0, license: licenses.join(", ") });
        }
        collect(component.components, sbom);
    }
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
    digest: BTreeMap<String, Word>,
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

fn provenance(bytes: &[u8]) -> Result<Provenance, Fault> {
    let envelope = json::<Envelope>(bytes).ok().filter(|e| e.payload_type == IN_TOTO_TYPE);
    let payload = envelope.as_ref().map(|e| e.decoded().ok_or_else(|| Fault::Malformed("payload".to_owned()))).transpose()?;
    let statement: Statement = json(payload.as_deref().unwrap_or(bytes))?;
    if !statement.kind.0.starts_with("https://in-toto.io/Statement/") {
        return Err(lacks("_type"));
    }
    let either = |a: Word, b: Word| if a.0.is_empty() { b.0 } else { a.0 };
    let predicate = statement.predicate.unwrap_or_default();
    let subject = |s: StatementSubject| {
        // SHA-256, as in the registry's own digests, else the first algorithm.
        let digest = s.digest.get_key_value("sha256").or_else(|| s.digest.first_key_value());
        let digest = digest.map(|(algorithm, hex)| format!("{}:{}", algorithm.chars().take(20).collect::<String>(), hex.0));
        (s.name.0, digest.unwrap_or_default())
    };
    Ok(Provenance {
        predicate_type: statement.predicate_type.0,
        builder: either(predicate.run_details.builder.id, predicate.builder.id),
        build_type: either(predicate.build_definition.build_type, predicate.build_type),
        enveloped: payload.is_some(),
        total: statement.subject.total,
        subjects: statement.subject.items.into_iter().map(subject).collect(),
    })
}

#[cfg(test)]
mod tests;
