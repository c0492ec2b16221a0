//! Lists of a repository: its tags, and what refers to a manifest; page by page.

use app_package::digest::Digest;
use app_package::oci::{Descriptor, MAX_MANIFEST_BYTES};

use super::model::{Listed, cut, parse_digest};
use super::parsed::{MAX_ANNOTATIONS, MAX_TYPE};
use super::store;
use crate::base::db::Conn;
use crate::base::error::{Error, Result};

/// Names on one page of tags.
const TAG_PAGE: i64 = 1000;
/// Descriptors on one page of referrers.
const REFERRER_PAGE: i64 = 50;
/// Signatures of the platform that come first on it: one, and one more for each change of its key.
const MAX_KEPT: i64 = 10;
// A page of referrers has at most 4 MiB (distribution-spec), with half a kilobyte for digests and names of each.
#[expect(clippy::cast_possible_truncation, reason = "fifty")]
const _: () = assert!(REFERRER_PAGE as usize * (MAX_ANNOTATIONS + 2 * MAX_TYPE + 512) < MAX_MANIFEST_BYTES);

/// Names of tags after `last`, in ASCII order, at most `n`; for buyers only those of published releases.
pub fn tags_in(conn: &mut Conn, repository_id: &str, n: Option<u32>, last: &str, buyer: bool) -> Result<Listed<String>> {
    let limit = n.map_or(TAG_PAGE, i64::from).min(TAG_PAGE);
    if limit == 0 {
        return Ok(Listed { items: Vec::new(), next: None });
    }
    let mut items = store::tags_after(conn, repository_id, last, limit + 1, buyer)?;
    Ok(Listed { next: cut(&mut items, limit, Clone::clone), items })
}

/// Descriptors of the manifests that refer to a digest, after `last`. The platform's signature comes first, before all that others attach,
/// so that whoever looks at the beginning finds it.
pub fn referrers_in(
    conn: &mut Conn,
    repository_id: &str,
    subject: &Digest,
    artifact_type: Option<&str>,
    last: &str,
) -> Result<Listed<Descriptor>> {
    let of = store::Referrers { repository_id, subject: subject.as_str(), artifact_type };
    let mut rows = if last.is_empty() { of.kept(conn, MAX_KEPT)? } else { Vec::new() };
    let room = REFERRER_PAGE.saturating_sub(i64::try_from(rows.len()).map_err(Error::internal)?);
    let mut others = of.others(conn, last, room + 1)?;
    let next = cut(&mut others, room, |row| row.0.clone());
    rows.extend(others);
    let items = rows
        .into_iter()
        .map(|(digest, media_type, artifact_type, annotations, size)| {
            Ok(Descriptor {
                media_type,
                digest: parse_digest(&digest)?,
                size: u64::try_from(size).map_err(Error::internal)?,
                annotations: annotations.as_deref().map(serde_json::from_str).transpose()?,
                artifact_type,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Listed { items, next })
}
