//! The same tests on a local directory and on a real S3 server.

use std::future::Future;
use std::path::PathBuf;

use app_package::digest::Digest;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::BlobStore;
use crate::base::config::Storage;
use crate::testing::S3Server;

struct Fixture {
    blobs: BlobStore,
    folder: PathBuf,
}

async fn each_store<F, Fut>(body: F)
where
    F: Fn(Fixture) -> Fut,
    Fut: Future<Output = ()>,
{
    let server = S3Server::start().await;
    for settings in [Storage::default(), server.settings.clone()] {
        let folder = std::env::temp_dir().join(crate::base::ids::new("pithead-store"));
        let blobs = BlobStore::open(&folder, &settings).unwrap();
        body(Fixture { blobs, folder: folder.clone() }).await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}

async fn stage(blobs: &BlobStore, id: &str, bytes: &[u8]) {
    let mut file = blobs.append_at(id, 0).await.unwrap();
    file.write_all(bytes).await.unwrap();
    file.flush().await.unwrap();
}

async fn whole(blobs: &BlobStore, digest: &Digest, first: u64, length: u64) -> Vec<u8> {
    let mut stream = blobs.read(digest, first, length).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes
}

/// Larger than one part of S3 (8 MiB), and no multiple of anything.
fn large() -> Vec<u8> {
    (0..20_000_003u32).map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_read_whole_and_in_parts() {
    each_store(|Fixture { blobs, folder }| async move {
        for bytes in [Vec::new(), b"x".to_vec(), large()] {
            let digest = Digest::of(&bytes);
            let size = bytes.len() as u64;
            assert_eq!(blobs.size(&digest).await.unwrap(), None);
            assert_eq!(blobs.read_small(&digest, 10).await.unwrap_err().code, "blob-unknown");
            stage(&blobs, "upl_1", &bytes).await;
            // Twice is once: a request that is repeated after a crash.
            for _ in 0..2 {
                blobs.publish("upl_1", &digest).await.unwrap();
            }
            assert!(blobs.staged("upl_1").exists(), "the caller may try again");
            blobs.discard("upl_1").await.unwrap();
            assert_eq!(blobs.size(&digest).await.unwrap(), Some(size));
            assert_eq!(whole(&blobs, &digest, 0, size).await, bytes);
            if size > 100 {
                assert_eq!(whole(&blobs, &digest, 9_000_000, 1_000_000).await, bytes[9_000_000..10_000_000]);
                assert_eq!(whole(&blobs, &digest, size - 7, 7).await, bytes[bytes.len() - 7..]);
                assert_eq!(blobs.read_small(&digest, 100).await.unwrap_err().code, "blob-too-large");
            }
            let target = folder.join(format!("laid-{size}"));
            let (store, wanted, to) = (blobs.clone(), digest.clone(), target.clone());
            tokio::task::spawn_blocking(move || store.lay_blocking(&wanted, size, &to)).await.unwrap().unwrap();
            assert_eq!(std::fs::read(&target).unwrap(), bytes);
            assert!(std::fs::metadata(&target).unwrap().permissions().readonly());
        }
        assert_eq!(std::fs::read_dir(folder.join("uploads")).unwrap().count(), 0, "nothing is left of the uploads");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_bytes_are_stored_listed_and_removed() {
    each_store(|Fixture { blobs, folder }| async move {
        let digest = Digest::of(b"a configuration");
        let (store, wanted) = (blobs.clone(), digest.clone());
        tokio::task::spawn_blocking(move || {
            assert!(!store.exists_blocking(&wanted).unwrap());
            store.put_blocking(&wanted, b"a configuration").unwrap();
            store.put_blocking(&wanted, b"a configuration").unwrap();
            assert!(store.exists_blocking(&wanted).unwrap());
        })
        .await
        .unwrap();
        assert_eq!(blobs.read_small(&digest, 100).await.unwrap(), b"a configuration");
        let listed = blobs.list("sha256", digest.hex().get(..2).unwrap()).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((&listed[0].digest, listed[0].size), (&digest, 15));
        assert!((chrono::Utc::now() - listed[0].modified).num_seconds().abs() < 60, "{:?}", listed[0].modified);
        assert!(blobs.list("sha512", "00").await.unwrap().is_empty());
        let (store, wanted) = (blobs.clone(), digest.clone());
        tokio::task::spawn_blocking(move || {
            store.delete_blocking(&wanted).unwrap();
            store.delete_blocking(&wanted).unwrap();
        })
        .await
        .unwrap();
        assert_eq!(blobs.size(&digest).await.unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.join("uploads")).unwrap().count(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_replaced_by_an_upload_of_the_same_bytes() {
    let folder = std::env::temp_dir().join(crate::base::ids::new("pithead-store"));
    let blobs = BlobStore::open(&folder, &Storage::default()).unwrap();
    let digest = Digest::of(b"weights");
    stage(&blobs, "upl_1", b"weights").await;
    blobs.publish("upl_1", &digest).await.unwrap();
    blobs.discard("upl_1").await.unwrap();
    std::fs::write(blobs.local_path(&digest).unwrap(), b"wei").unwrap();
    let mut short = blobs.read(&digest, 0, 7).await.unwrap();
    assert!(short.next().await.unwrap().is_err(), "a shorter blob is never taken for whole");
    stage(&blobs, "upl_2", b"weights").await;
    blobs.publish("upl_2", &digest).await.unwrap();
    assert_eq!(whole(&blobs, &digest, 0, 7).await, b"weights");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_key_of_a_store_is_a_passing_trouble_that_says_no_secret() {
    let server = S3Server::start().await;
    let mut settings = server.settings.clone();
    settings.s3.secret_key = "another-secret".into();
    let folder = std::env::temp_dir().join(crate::base::ids::new("pithead-store"));
    let blobs = BlobStore::open(&folder, &settings).unwrap();
    stage(&blobs, "upl_1", b"weights").await;
    let error = blobs.publish("upl_1", &Digest::of(b"weights")).await.unwrap_err();
    assert_eq!(error.code, "storage-unavailable");
    assert!(!error.to_string().contains("another-secret"), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
}
