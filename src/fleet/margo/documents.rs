//! The documents of a node's desired state, from values to bytes. Pure and deterministic: equal input gives equal bytes, since the
//! digest of the bytes is what nodes compare.

use std::collections::BTreeMap;
use std::io::Write as _;

use app_package::digest::Digest;
use app_package::margo::{
    ApplicationDeployment, BUNDLE_TYPE, BundleRef, DeploymentRef, Extensions, OnnxDeployment, ReleaseRef, StateManifest,
};
use serde_json::{Map, Value};

use crate::base::db::Timestamp;
use crate::base::error::{Error, Result};

/// Annotation with the time of the operator's last wish for this deployment. It changes the document when the same wish is made again
/// (removed and deployed anew before the node looked), so that the node reports on the new wish.
const WISHED: &str = "pithead.dev/wished-at";

/// A document with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Digest of `content`.
    pub digest: Digest,
    pub content: Vec<u8>,
}

impl Document {
    pub fn of(content: Vec<u8>) -> Self {
        Self { digest: Digest::of(&content), content }
    }

    fn size(&self) -> Option<u64> {
        u64::try_from(self.content.len()).ok()
    }
}

/// What a deployment document is made of.
#[derive(Debug)]
pub struct DeploymentSpec<'a> {
    pub id: &'a str,
    pub node_id: &'a str,
    /// Operator's slug.
    pub namespace: &'a str,
    /// Host and port of the registry, as nodes reach it.
    pub registry: &'a str,
    /// `vendor/app`.
    pub repository: String,
    /// Digest of the release.
    pub digest: &'a str,
    /// Version of the release.
    pub version: &'a str,
    /// Digest of the manifest with the platform's signature on the release.
    pub signature: Option<Digest>,
    pub license: String,
    /// Values of the parameters.
    pub parameters: Map<String, Value>,
    /// Whether the app guards people.
    pub safety: bool,
    /// `site · node`.
    pub place: String,
    /// Why the platform has recalled the release.
    pub recalled: Option<String>,
    /// Time of the operator's last wish for this deployment.
    pub wished_at: Timestamp,
}

/// The YAML of one deployment.
pub fn deployment(wanted: DeploymentSpec<'_>) -> Result<Document> {
    let fault = |what: &str| Error::internal(anyhow::anyhow!("deployment {}: its release has no {what}", wanted.id));
    let release = ReleaseRef {
        digest: Digest::parse(wanted.digest).map_err(|_| fault("digest"))?,
        version: semver::Version::parse(wanted.version).map_err(|_| fault("version"))?,
        repository: wanted.repository,
    };
    let pithead = Extensions {
        release,
        signature: wanted.signature,
        license: wanted.license,
        parameters: wanted.parameters,
        safety: wanted.safety,
        place: wanted.place,
        recalled: wanted.recalled,
    };
    let of = OnnxDeployment { id: wanted.id, namespace: wanted.namespace, device_id: wanted.node_id, registry: wanted.registry, pithead };
    let mut document = ApplicationDeployment::onnx(of);
    document.metadata.annotations.insert(WISHED.to_owned(), wanted.wished_at.rfc3339());
    Ok(Document::of(serde_yaml_ng::to_string(&document).map_err(Error::internal)?.into_bytes()))
}

/// Whether a stored YAML is the document of this deployment.
pub fn is_of(content: &[u8], deployment_id: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    serde_yaml_ng::from_slice::<Id>(content).is_ok_and(|document| document.id == deployment_id)
}

/// An archive of exactly these deployments; owner, time and order are fixed.
pub fn bundle(deployments: &BTreeMap<String, Document>) -> Result<Document> {
    let mut tar = tar::Builder::new(Vec::new());
    for (id, document) in deployments {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(document.content.len()).map_err(Error::internal)?);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, format!("{id}.yaml"), document.content.as_slice())?;
    }
    let archive = tar.into_inner()?;
    let mut gzip = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::default());
    gzip.write_all(&archive)?;
    Ok(Document::of(gzip.finish()?))
}

/// The state manifest that lists deployments and their bundle; without a deployment the bundle is null, as Margo wants it.
pub fn manifest(version: u64, deployments: &BTreeMap<String, Document>, bundle: Option<&Document>) -> StateManifest {
    StateManifest {
        manifest_version: version,
        bundle: bundle.map(|b| BundleRef {
            media_type: BUNDLE_TYPE.to_owned(),
            digest: b.digest.clone(),
            size_bytes: b.size(),
            url: format!("/api/v1/bundles/{}", b.digest),
        }),
        deployments: deployments
            .iter()
            .map(|(id, d)| DeploymentRef {
                deployment_id: id.clone(),
                digest: d.digest.clone(),
                size_bytes: d.size(),
                url: format!("/api/v1/deployments/{id}/{}", d.digest),
            })
            .collect(),
    }
}

/// The exact bytes of a manifest.
pub fn manifest_document(manifest: &StateManifest) -> Result<Document> {
    Ok(Document::of(serde_json::to_vec(manifest)?))
}
