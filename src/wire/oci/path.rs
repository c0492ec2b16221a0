//! The resource that a path below `/v2/` names. Paths are read from the right, since repository names have any number of parts.

use actix_web::http::Method;
use percent_encoding::percent_decode_str;

use crate::base::error::{Error, Result};
use crate::registry::model::RepositoryName;

const READ: &[Method] = &[Method::GET, Method::HEAD];
const BEGUN: &[Method] = &[Method::POST];
const GOING_ON: &[Method] = &[Method::GET, Method::HEAD, Method::PATCH, Method::PUT, Method::DELETE];
const BLOB: &[Method] = &[Method::GET, Method::HEAD, Method::DELETE];
const MANIFEST: &[Method] = &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE];

/// A resource of the registry. References are not parsed yet: the error for a bad one depends on the method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `/v2/`.
    Base,
    /// `_catalog`.
    Catalog,
    /// `<name>/blobs/uploads/`.
    Uploads(RepositoryName),
    /// `<name>/blobs/uploads/<id>`.
    Upload(RepositoryName, String),
    /// `<name>/blobs/<digest>`.
    Blob(RepositoryName, String),
    /// `<name>/manifests/<tag or digest>`.
    Manifest(RepositoryName, String),
    /// `<name>/tags/list`.
    Tags(RepositoryName),
    /// `<name>/referrers/<digest>`.
    Referrers(RepositoryName, String),
}

impl Target {
    /// Reads the part of the path after `/v2/`, still percent-encoded or not (`sha256%3A…` is common).
    ///
    /// # Errors
    /// `name-invalid`; `name-unknown` where the path fits none of the registry's endpoints.
    pub fn parse(tail: &str) -> Result<Self> {
        let unknown = || Error::not_found("name-unknown");
        let decoded = percent_decode_str(tail).decode_utf8().map_err(|_| unknown())?;
        if decoded.is_empty() {
            return Ok(Self::Base);
        }
        let parts: Vec<&str> = decoded.split('/').collect();
        if decoded == "_catalog" {
            return Ok(Self::Catalog);
        }
        let name = |parts: &[&str]| RepositoryName::parse(&parts.join("/"));
        match parts.as_slice() {
            [n @ .., "blobs", "uploads"] | [n @ .., "blobs", "uploads", ""] => Ok(Self::Uploads(name(n)?)),
            [n @ .., "blobs", "uploads", id] => Ok(Self::Upload(name(n)?, (*id).to_owned())),
            [n @ .., "blobs", digest] => Ok(Self::Blob(name(n)?, (*digest).to_owned())),
            [n @ .., "manifests", reference] => Ok(Self::Manifest(name(n)?, (*reference).to_owned())),
            [n @ .., "tags", "list"] => Ok(Self::Tags(name(n)?)),
            [n @ .., "referrers", digest] => Ok(Self::Referrers(name(n)?, (*digest).to_owned())),
            _ => Err(unknown()),
        }
    }

    /// The methods that the target knows.
    pub fn methods(&self) -> &'static [Method] {
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => READ,
            Self::Uploads(_) => BEGUN,
            Self::Upload(..) => GOING_ON,
            Self::Blob(..) => BLOB,
            Self::Manifest(..) => MANIFEST,
        }
    }

    /// The repository that the target is in; none for `/v2/` and the catalogue.
    pub fn name(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Uploads(n) | Self::Upload(n, _) | Self::Blob(n, _) | Self::Manifest(n, _) | Self::Tags(n) | Self::Referrers(n, _) => {
                Some(n)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_the_right() {
        let name = |n: &str| RepositoryName::parse(n).unwrap();
        let cases = [
            ("", Target::Base),
            ("_catalog", Target::Catalog),
            ("a/b/blobs/uploads/", Target::Uploads(name("a/b"))),
            ("a/b/blobs/uploads", Target::Uploads(name("a/b"))),
            ("a/b/blobs/uploads/upl_1", Target::Upload(name("a/b"), "upl_1".into())),
            ("a/b/c/d/blobs/sha256%3Aff", Target::Blob(name("a/b/c/d"), "sha256:ff".into())),
            ("a/manifests/manifests/latest", Target::Manifest(name("a/manifests"), "latest".into())),
            ("a/tags/list/tags/list", Target::Tags(name("a/tags/list"))),
            ("a/b/referrers/sha256:ff", Target::Referrers(name("a/b"), "sha256:ff".into())),
        ];
        for (path, target) in cases {
            assert_eq!(Target::parse(path).unwrap(), target, "{path}");
        }
        for (path, code) in [
            ("a/b", "name-unknown"),
            ("a/B/tags/list", "name-invalid"),
            ("a/../b/manifests/x", "name-invalid"),
            ("%ff/tags/list", "name-unknown"),
        ] {
            assert_eq!(Target::parse(path).unwrap_err().code, code, "{path}");
        }
    }
}
