//! Bodies that are long enough to be made durable on the way.

use super::*;
use crate::base::error::Result;

const MIB: usize = 1024 * 1024;

/// Bytes that repeat nowhere near.
fn long(length: usize) -> Bytes {
    let (mut state, mut bytes) = (0x9e37_79b9_7f4a_7c15_u64, Vec::with_capacity(length + 8));
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Appends bytes as they come from a socket, in pieces of no round size; `whole` or cut off by the client.
async fn append(app: &App, who: &Actor, at: &str, bytes: Bytes, chunk: Chunk, whole: bool) -> Result<u64> {
    let pieces = (0..bytes.len()).step_by(70_001).map(move |n| Ok(bytes.slice(n..bytes.len().min(n + 70_001))));
    let end = (!whole).then_some(Err(PayloadError::Incomplete(None)));
    let pieces: Pieces = Box::pin(futures_util::stream::iter(pieces.chain(end)));
    let mut payload = Payload::from(pieces);
    let request = TestRequest::default().to_http_request();
    let payload = actix_web::web::Payload::from_request(&request, &mut payload).await.unwrap();
    append_to(app, who, "acme/belt", at.rsplit('/').next().unwrap(), chunk, payload).await
}

async fn offset(app: &App, who: &Actor, at: &str) -> usize {
    get(app, who, at).await.expect(204).header("x-upload-offset").parse().unwrap()
}

async fn finish(app: &App, who: &Actor, at: &str, bytes: &Bytes) {
    let digest = Digest::of(bytes);
    send(app, who, Method::PUT, &format!("{at}?digest={digest}"), &[], b"").await.expect(201);
    assert!(get(app, who, &format!("/v2/acme/belt/blobs/{digest}")).await.expect(200).body == *bytes);
}

#[tokio::test]
async fn a_long_body_that_breaks_keeps_all_that_came() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let bytes = long(40 * MIB + 12_345);
        let at = start(&app, &acme, "acme/belt").await;
        let broken = append(&app, &acme, &at, bytes.slice(..40 * MIB), Chunk::default(), false).await;
        assert_eq!(broken.unwrap_err().code, "body-broken");
        assert_eq!(offset(&app, &acme, &at).await, 40 * MIB);
        let staged = std::fs::metadata(app.blobs.staged(at.rsplit('/').next().unwrap())).unwrap();
        assert_eq!(staged.len(), 40 * MIB as u64);
        assert_eq!(append(&app, &acme, &at, bytes.slice(40 * MIB..), Chunk::default(), true).await.unwrap(), bytes.len() as u64);
        finish(&app, &acme, &at, &bytes).await;
    })
    .await;
}

#[tokio::test]
async fn a_long_body_that_is_refused_leaves_a_whole_beginning() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let bytes = long(100 * MIB);
        let at = start(&app, &acme, "acme/belt").await;
        // One byte less is announced than comes: known at the very end, when much is durable and the rest on its way.
        let announced = Chunk { range: None, length: Some(bytes.len() as u64 - 1) };
        let refused = append(&app, &acme, &at, bytes.clone(), announced, true).await;
        assert_eq!(refused.unwrap_err().code, "size-invalid");
        let kept = offset(&app, &acme, &at).await;
        assert!(kept > 0 && kept < bytes.len(), "{kept}");
        // What was on its way does not run into what comes next.
        append(&app, &acme, &at, bytes.slice(kept..), Chunk::default(), true).await.unwrap();
        finish(&app, &acme, &at, &bytes).await;
    })
    .await;
}
