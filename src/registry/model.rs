//! Rows and words of the registry: repository names, tags, references, rights.

use std::fmt;

use app_package::digest::Digest;
use app_package::dsse::IN_TOTO_TYPE;
use app_package::oci::{ARTIFACT_TYPE, DOCKER_LIST_TYPE, DSSE_TYPE, INDEX_TYPE, SIGNATURE_TYPE, VENDOR_SIGNATURE_TYPE};
use diesel::prelude::*;

use crate::base::db::{Timestamp, schema};
use crate::base::error::{Error, Result};

/// Longest repository name; with any usual host in front it stays under the 255 bytes that clients take.
const MAX_NAME: usize = 200;
/// Longest tag (distribution-spec).
const MAX_TAG: usize = 128;
/// Largest blob in bytes: 20 GiB, as for a file of a package.
pub const MAX_BLOB: u64 = 20 * 1024 * 1024 * 1024;

/// A repository name of the spec's grammar with at least two parts: `<organisation slug>/<app>[/…]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// Checks `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/…)*` (distribution-spec v1.1, "Pulling manifests").
    ///
    /// # Errors
    /// `name-invalid`.
    pub fn parse(text: &str) -> Result<Self> {
        let fits = text.len() <= MAX_NAME && text.contains('/') && text.split('/').all(is_component);
        if fits { Ok(Self(text.to_owned())) } else { Err(Error::invalid("name-invalid")) }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first part: the slug of the organisation that owns it.
    pub fn owner(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Alphanumeric runs with one separator (`.`, `_`, `__` or hyphens) between them.
fn is_component(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(alphanumeric).filter(|s| !s.is_empty());
    part.starts_with(alphanumeric)
        && part.ends_with(alphanumeric)
        && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// How a request names a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Tag(String),
    Digest(Digest),
}

impl Reference {
    /// A digest (anything with a colon), or a tag `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    ///
    /// # Errors
    /// `digest-invalid`, `tag-invalid`.
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains(':') { Ok(Self::Digest(parse_digest(text)?)) } else { Ok(Self::Tag(parse_tag(text)?)) }
    }
}

/// Checks a tag.
pub fn parse_tag(text: &str) -> Result<String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    let fits = text.len() <= MAX_TAG && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-');
    if fits { Ok(text.to_owned()) } else { Err(Error::invalid("tag-invalid")) }
}

/// Checks a digest.
pub fn parse_digest(text: &str) -> Result<Digest> {
    Digest::parse(text).map_err(|e| Error::invalid("digest-invalid").source(e))
}

/// Whether a tag names a version for good: a semantic version, also with `v` before it.
pub fn is_immutable(tag: &str) -> bool {
    semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).is_ok()
}

/// Tags of contents, as a precondition names them: any content at all, or those with one of some digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Any,
    OneOf(Vec<String>),
}

impl Named {
    fn holds(&self, current: Option<&str>) -> bool {
        match self {
            Self::Any => current.is_some(),
            Self::OneOf(digests) => current.is_some_and(|current| digests.iter().any(|digest| digest == current)),
        }
    }
}

/// What whoever changes a reference says that it names before (RFC 9110 §13.1.1 and §13.1.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// One of these.
    pub matches: Option<Named>,
    /// None of these.
    pub matches_none: Option<Named>,
}

impl Expected {
    /// Checks it against the digest that the reference names, if any.
    ///
    /// # Errors
    /// `precondition-failed`.
    pub fn check(&self, current: Option<&str>) -> Result<()> {
        let one = self.matches.as_ref().is_none_or(|named| named.holds(current));
        let none = self.matches_none.as_ref().is_none_or(|named| !named.holds(current));
        if one && none { Ok(()) } else { Err(Error::precondition("precondition-failed")) }
    }
}

crate::base::db::types::text_enum! {
    /// Who may see a manifest beside its owner, and whether it must stay. The slice that gives the manifest a meaning decides.
    pub enum Visibility {
        /// Its owner alone, who may delete it.
        Private = "private",
        /// Its owner alone, and it must stay.
        Kept = "kept",
        /// Buyers too, and it must stay.
        Public = "public",
    }
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = schema::repositories)]
pub struct Repository {
    /// `rep_…`.
    pub id: String,
    /// `<organisation slug>/<app>`.
    pub name: String,
    /// Organisation that owns it.
    pub organization_id: String,
    pub created_at: Timestamp,
}

/// A manifest as it was pushed.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = schema::manifests)]
pub struct StoredManifest {
    /// Digest of `content`.
    pub digest: String,
    /// `Content-Type` it was pushed with.
    pub media_type: String,
    /// What the artifact is: `artifactType`, else the config's media type.
    pub artifact_type: Option<String>,
    /// Digest of the manifest it refers to.
    pub subject: Option<String>,
    /// Annotations as JSON text.
    pub annotations: Option<String>,
    /// The exact bytes.
    pub content: Vec<u8>,
    /// Who may see it, and whether it must stay. A manifest with a subject is seen by those who see its subject, and stays by its own
    /// word only.
    pub visibility: Visibility,
}

/// An upload that is going on.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::uploads)]
pub struct Upload {
    /// `upl_…`; the staged file's name.
    pub id: String,
    /// Repository that the blob goes into.
    pub repository_id: String,
    /// User who may go on with it.
    pub user_id: String,
    /// Durable bytes.
    pub offset_bytes: i64,
    pub created_at: Timestamp,
    /// When it ends unless more bytes come.
    pub expires_at: Timestamp,
}

impl Upload {
    /// Durable bytes.
    pub fn offset(&self) -> u64 {
        u64::try_from(self.offset_bytes).unwrap_or(0)
    }
}

/// The word that names an artifact's type for people, as in `registry-type-…`.
pub fn type_word(artifact_type: &str) -> &'static str {
    match artifact_type {
        ARTIFACT_TYPE => "app",
        SIGNATURE_TYPE | VENDOR_SIGNATURE_TYPE => "signature",
        "application/spdx+json" | "text/spdx" => "spdx",
        "application/vnd.cyclonedx+json" | "application/vnd.cyclonedx+xml" => "cyclonedx",
        IN_TOTO_TYPE | DSSE_TYPE => "provenance",
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => "image",
        INDEX_TYPE | DOCKER_LIST_TYPE => "index",
        other if other.starts_with("application/vnd.dev.sigstore") || other.starts_with("application/vnd.dev.cosign") => "sigstore",
        _ => "other",
    }
}

/// One page of a list, and whether more follow.
#[derive(Debug)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Key at which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// Cuts a list to its page; gives the key of the page's last item where more follow.
pub fn cut<T>(items: &mut Vec<T>, limit: i64, key: impl Fn(&T) -> String) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if items.len() <= limit {
        return None;
    }
    items.truncate(limit);
    items.last().map(key)
}

/// What a list of referrers needs of a manifest: digest, media type, artifact type, annotations, size.
pub type ReferrerRow = (String, String, Option<String>, Option<String>, i64);

/// When a manifest was pushed, and its bytes.
pub type Content = (Timestamp, Vec<u8>);

/// A repository in a list.
#[derive(Debug, Clone, Queryable)]
pub struct RepositoryLine {
    /// `<organisation slug>/<app>`.
    pub name: String,
    pub created_at: Timestamp,
}

/// A manifest in a list: without its content.
#[derive(Debug, Clone, Queryable)]
pub struct Artifact {
    pub digest: String,
    /// Media type it was pushed with.
    pub media_type: String,
    /// What it is: the manifest's `artifactType`, else its config's media type.
    pub kind: Option<String>,
    /// Bytes of the manifest itself.
    pub size_bytes: i64,
    /// When it was pushed.
    pub created_at: Timestamp,
}

impl Artifact {
    /// Position at which the list goes on after this manifest: time and digest.
    pub fn place(&self) -> String {
        format!("{}~{}", self.created_at.utc().timestamp_micros(), self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar_of_the_spec() {
        for good in ["acme/helmet", "a/b", "acme/a.b_c__d-e---f/0", "acme-1/belt/tear/v2"] {
            assert_eq!(RepositoryName::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(RepositoryName::parse("acme/belt/tear").unwrap().owner(), "acme");
        let long = format!("acme/{}", "a".repeat(MAX_NAME));
        let bad = [
            "",
            "acme",
            "/acme",
            "acme/",
            "acme//b",
            "Acme/b",
            "acme/b..c",
            "acme/b._c",
            "acme/b___c",
            "acme/-b",
            "acme/b-",
            "acme/b-_c",
            "acme/../b",
            "acme/b c",
            "acme/矿",
            "acme/b%2f",
            "acme/b\n",
            &long,
        ];
        for text in bad {
            assert_eq!(RepositoryName::parse(text).unwrap_err().code, "name-invalid", "{text}");
        }
    }

    #[test]
    fn references_are_tags_or_digests() {
        assert_eq!(Reference::parse("1.0.0").unwrap(), Reference::Tag("1.0.0".into()));
        assert!(matches!(Reference::parse(Digest::of(b"x").as_str()).unwrap(), Reference::Digest(_)));
        assert_eq!(Reference::parse("sha256:short").unwrap_err().code, "digest-invalid");
        for bad in ["", ".a", "-a", "a/b", "a b", &"a".repeat(129)] {
            assert_eq!(Reference::parse(bad).unwrap_err().code, "tag-invalid", "{bad}");
        }
    }

    #[test]
    fn a_change_happens_where_the_reference_names_what_was_expected() {
        let of = |digests: &[&str]| Some(Named::OneOf(digests.iter().map(|&d| d.to_owned()).collect()));
        let cases = [
            (None, None, [true, true]),
            (Some(Named::Any), None, [false, true]),
            (None, Some(Named::Any), [true, false]),
            (of(&["sha256:2", "sha256:1"]), None, [false, true]),
            (of(&["sha256:2"]), None, [false, false]),
            (of(&[]), None, [false, false]),
            (None, of(&["sha256:1"]), [true, false]),
            (None, of(&["sha256:2"]), [true, true]),
            (of(&["sha256:1"]), Some(Named::Any), [false, false]),
        ];
        for (matches, matches_none, expected) in cases {
            let asked = Expected { matches, matches_none };
            assert_eq!([None, Some("sha256:1")].map(|current| asked.check(current).is_ok()), expected, "{asked:?}");
        }
    }

    #[test]
    fn versions_are_immutable_and_other_tags_float() {
        assert!(is_immutable("1.0.0") && is_immutable("v2.1.0-rc.1"));
        assert!(!is_immutable("latest") && !is_immutable("1.0") && !is_immutable("v1"));
    }
}
