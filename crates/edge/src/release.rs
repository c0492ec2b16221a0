//! What a deployment asks for, and whether this node may run it: document, release manifest, signature, licence.
//!
//! All checks are pure functions over bytes; fetching is elsewhere.

use app_package::digest::Digest;
use app_package::dsse::{Envelope, ReleaseStatement};
use app_package::keys::KeySet;
use app_package::license::{self, Claims, Context, Purpose, Verdict};
use app_package::manifest::{AppManifest, ParameterKind};
use app_package::margo::{ApplicationDeployment, ReleaseRef};
use app_package::oci::{self, ImageManifest};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::fault::Fault;

/// Verdict in the signed statement of a release that may run.
const APPROVED: &str = "approved";

/// A deployment document, parsed and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub id: String,
    /// Digest of the document.
    pub document: Digest,
    /// Component name, for status posts.
    pub component: String,
    /// The exact release: repository (`vendor/app`), digest of the image manifest, version.
    pub release: ReleaseRef,
    /// Manifest with the platform's signature on the release, where the document names it.
    pub signature: Option<Digest>,
    pub license: String,
    /// Values set by the operator.
    pub parameters: Map<String, Value>,
    /// Place for alarm texts.
    pub place: String,
    /// Why the platform has recalled the release.
    pub recalled: Option<String>,
}

fn bad(code: &'static str, message: impl Into<String>) -> Fault {
    Fault::new(code, "manifest", message)
}

fn slug(text: &str) -> bool {
    !text.is_empty() && text.len() <= 100 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Ids come into URLs and file names: letters, digits, `_`, `-`, `.`, not beginning with a point.
pub fn is_deployment_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 200 && !id.starts_with('.') && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl Wanted {
    /// Reads a document whose digest has been checked.
    pub fn parse(id: &str, document: &Digest, yaml: &[u8]) -> Result<Self, Fault> {
        let invalid = |why: String| bad("deployment-document-invalid", why);
        let parsed: ApplicationDeployment = serde_yaml_ng::from_slice(yaml).map_err(|e| invalid(e.to_string()))?;
        if parsed.id.as_deref().is_some_and(|own| own != id) {
            return Err(invalid("the document is of another deployment".into()));
        }
        let extensions =
            parsed.spec.pithead.ok_or_else(|| bad("deployment-not-for-pithead", "the document has no x-pithead-extensions"))?;
        let component = parsed.spec.deployment_profile.components.into_iter().next().map(|c| c.name);
        let repository = &extensions.release.repository;
        if !repository.split_once('/').is_some_and(|(vendor, app)| slug(vendor) && slug(app)) {
            return Err(invalid(format!("repository {repository:?} is not vendor/app")));
        }
        if extensions.release.digest.algorithm() != "sha256" {
            return Err(bad("digest-algorithm-unsupported", extensions.release.digest.to_string()));
        }
        Ok(Self {
            id: id.to_owned(),
            document: document.clone(),
            component: component.unwrap_or_else(|| repository.clone()),
            release: extensions.release,
            signature: extensions.signature,
            license: extensions.license,
            parameters: extensions.parameters,
            place: extensions.place,
            recalled: extensions.recalled,
        })
    }

    /// Full name of the app, `vendor/app`; also its repository.
    pub fn app(&self) -> &str {
        &self.release.repository
    }

    /// Last part of the app's name.
    pub fn slug(&self) -> &str {
        self.app().rsplit('/').next().unwrap_or_default()
    }

    /// Parameter values for the app: those set by the operator, and the manifest's defaults, all checked against the manifest.
    pub fn values(&self, manifest: &AppManifest) -> Result<Map<String, Value>, Fault> {
        let mut values = Map::new();
        for parameter in &manifest.parameters {
            let value = self.parameters.get(&parameter.name).unwrap_or(&parameter.default);
            let number_fits =
                || value.as_f64().is_some_and(|n| parameter.min.is_none_or(|min| n >= min) && parameter.max.is_none_or(|max| n <= max));
            let fits = match parameter.kind {
                ParameterKind::String => value.as_str().is_some_and(|s| s.chars().count() <= 200),
                ParameterKind::Integer => value.is_i64() && number_fits(),
                ParameterKind::Number => number_fits(),
                ParameterKind::Boolean => value.is_boolean(),
                ParameterKind::Choice => value.as_str().is_some_and(|s| parameter.choices.iter().any(|c| c == s)),
            };
            if !fits {
                return Err(bad("parameter-invalid", format!("the value of parameter {} does not fit", parameter.name)));
            }
            values.insert(parameter.name.clone(), value.clone());
        }
        Ok(values)
    }
}

/// Reads the image manifest of a release.
pub fn image(bytes: &[u8]) -> Result<ImageManifest, Fault> {
    let manifest = ImageManifest::parse(bytes).map_err(|e| Fault::new(e.code(), "release", e.to_string()))?;
    if manifest.effective_artifact_type() != oci::ARTIFACT_TYPE || manifest.config.media_type != oci::CONFIG_TYPE {
        return Err(Fault::new("release-manifest-invalid", "release", "this is not an app release"));
    }
    Ok(manifest)
}

/// Reads the config of a release and checks that it is the app and version that the deployment names.
pub fn config(wanted: &Wanted, bytes: &[u8]) -> Result<AppManifest, Fault> {
    let invalid = |why: String| Fault::new("release-manifest-invalid", "release", why);
    let app: AppManifest = serde_json::from_slice(bytes).map_err(|e| invalid(e.to_string()))?;
    if app.name != wanted.slug() || app.version != wanted.release.version {
        return Err(invalid(format!(
            "the release is {} {}, the deployment names {} {}",
            app.name,
            app.version,
            wanted.app(),
            wanted.release.version
        )));
    }
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    if !app.resources.architectures.is_empty() && !app.resources.architectures.iter().any(|a| a == here) {
        return Err(Fault::new("architecture-not-supported", "release", format!("the app is not for {here}")));
    }
    Ok(app)
}

/// Checks that the platform has approved exactly this release.
pub fn signature(wanted: &Wanted, envelope: &[u8], keys: &KeySet) -> Result<(), Fault> {
    let refused = |code: &'static str, why: String| Fault::new(code, "release", why);
    let envelope = Envelope::parse(envelope).map_err(|e| refused(e.code(), e.to_string()))?;
    let statement = ReleaseStatement::verify(&envelope, keys).map_err(|e| refused(e.code(), e.to_string()))?;
    if statement.digest != wanted.release.digest {
        return Err(refused("signature-other-release", format!("the signature is of {}", statement.digest)));
    }
    let named = format!("{}/{}", statement.vendor, statement.app);
    if named != wanted.app() || statement.version != wanted.release.version {
        return Err(refused("signature-other-release", format!("the signature is of {named} {}", statement.version)));
    }
    if statement.verdict != APPROVED {
        return Err(refused(
            "release-not-approved",
            format!("the signed verdict is {:?}", statement.verdict.chars().take(40).collect::<String>()),
        ));
    }
    Ok(())
}

fn refused(code: &'static str, why: String) -> Fault {
    Fault::new(code, "license", why)
}

/// The claims of the licence, signed by one of these keys.
pub fn claims(wanted: &Wanted, keys: &KeySet) -> Result<Claims, Fault> {
    license::verify(&wanted.license, keys).map_err(|e| refused(e.code(), e.to_string()))
}

/// When a licence was issued.
pub fn issued(claims: &Claims) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(claims.iat, 0)
}

/// Checks the licence for this node and purpose. `safety` comes from the signed release, not from the document. The
/// verdict is given back because an allowed use may still need a warning.
pub fn licensed(
    wanted: &Wanted,
    claims: &Claims,
    safety: bool,
    node: &str,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Verdict, Fault> {
    let terms = claims.terms().map_err(|e| refused(e.code(), e.to_string()))?;
    // A licence cannot be older than its own issue: a machine whose clock stands still does not lose what it has.
    let now = issued(claims).map_or(now, |issued| now.max(issued));
    let context = Context {
        now,
        node: Some(node),
        app: wanted.app(),
        version: &wanted.release.version,
        digest: &wanted.release.digest,
        purpose,
        // Nodes are not counted here: the server does that before it issues a licence that names this node.
        active_nodes: 0,
    };
    let verdict = license::evaluate(&terms, &context);
    if verdict.allows(purpose, safety, claims.enforcement) {
        return Ok(verdict);
    }
    let code = match verdict {
        Verdict::Valid { .. } => "license-refused",
        Verdict::NotYetValid => "license-not-yet-valid",
        Verdict::Expired { .. } => "license-expired",
        Verdict::Suspended => "license-suspended",
        Verdict::Revoked => "license-revoked",
        Verdict::TooManyNodes { .. } => "license-too-many-nodes",
        Verdict::NodeNotActivated => "license-node-not-activated",
        Verdict::VersionNotCovered => "license-version-not-covered",
        Verdict::ScopeMismatch => "license-scope-mismatch",
    };
    Err(refused(code, format!("the licence of {} {} does not allow this here: {}", wanted.app(), wanted.release.version, verdict.code())))
}

#[cfg(test)]
mod tests;
