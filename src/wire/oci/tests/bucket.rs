//! The registry with its blobs in an S3 server.

use super::*;
use crate::testing::on_s3;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_and_a_pull_by_way_of_the_server() {
    on_s3(
        |_| {},
        |app| async move {
            let acme = testing::vendor(&app, "acme").await;
            let bytes: Vec<u8> = (0..9_000_000u32).map(|n| u8::try_from(n % 239).unwrap()).collect();
            let location = start(&app, &acme, "acme/belt").await;
            send(&app, &acme, Method::PATCH, &location, &[("content-range", "0-4999999")], &bytes[..5_000_000]).await.expect(202);
            send(&app, &acme, Method::PATCH, &location, &[("content-range", "5000000-8999999")], &bytes[5_000_000..]).await.expect(202);
            let digest = Digest::of(&bytes);
            send(&app, &acme, Method::PUT, &format!("{location}?digest={digest}"), &[], b"").await.expect(201);
            let path = format!("/v2/acme/belt/blobs/{digest}");
            assert_eq!(get(&app, &acme, &path).await.expect(200).body, bytes);
            let part = send(&app, &acme, Method::GET, &path, &[("range", "bytes=8999990-")], b"").await.expect(206);
            assert_eq!(part.body, &bytes[8_999_990..]);
            assert_eq!(send(&app, &acme, Method::HEAD, &path, &[], b"").await.expect(200).header("docker-content-digest"), digest.as_str());
            assert_eq!(std::fs::read_dir(app.blobs.staged("x").parent().unwrap()).unwrap().count(), 0, "nothing stays on the local disk");
            let manifest = push_layer(&app, &acme, "acme/belt", b"weights", None).await.to_bytes();
            put_manifest(&app, &acme, "acme/belt", "1.0.0", &manifest).await.expect(201);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_sent_to_the_store_and_gets_the_bytes_there() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    on_s3(
        |settings| settings.storage.s3.redirect = true,
        |app| async move {
            let acme = testing::vendor(&app, "acme").await;
            let digest = push_blob(&app, &acme, "acme/belt", b"weights of a model").await;
            let path = format!("/v2/acme/belt/blobs/{digest}");
            let answer = get(&app, &acme, &path).await.expect(307);
            let address = answer.header("location").to_owned();
            assert!(address.starts_with(&app.settings.storage.s3.endpoint) && address.contains("X-Amz-Signature="), "{address}");
            // The client goes there without our token, also for a part.
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let bytes = client.get(&address).send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap();
            assert_eq!(bytes, &b"weights of a model"[..]);
            let part = client.get(&address).header("range", "bytes=0-6").send().await.unwrap();
            assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().as_ref()), (206, &b"weights"[..]));
            let forged = address.replace(digest.hex().get(..8).unwrap(), "00000000");
            assert!(client.get(&forged).send().await.unwrap().status().is_client_error(), "the signature covers the key");
            // HEAD is answered here: an address signed for GET refuses it.
            assert_eq!(send(&app, &acme, Method::HEAD, &path, &[], b"").await.expect(200).header("docker-content-digest"), digest.as_str());
            get(&app, &testing::vendor(&app, "other").await, &path).await.expect(404);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_collected_from_the_bucket_too() {
    on_s3(
        |_| {},
        |app| async move {
            let acme = testing::vendor(&app, "acme").await;
            let manifest = push_layer(&app, &acme, "acme/belt", b"weights", None).await.to_bytes();
            put_manifest(&app, &acme, "acme/belt", "1.0.0", &manifest).await.expect(201);
            let loose = push_blob(&app, &acme, "acme/belt", b"never named").await;
            app.clock.advance(TimeDelta::days(400));
            let collected = crate::registry::collect::collect(&app, false).await.unwrap();
            assert_eq!((collected.links, collected.blobs, collected.strays), (1, 1, 0));
            assert_eq!(app.blobs.size(&loose).await.unwrap(), None);
            assert_eq!(
                get(&app, &acme, &format!("/v2/acme/belt/blobs/{}", Digest::of(b"weights"))).await.expect(200).body,
                &b"weights"[..]
            );
        },
    )
    .await;
}
