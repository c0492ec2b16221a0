//! Uploads in chunks that break, begin anew or end, and parts of blobs.

use super::*;

#[tokio::test]
async fn ranges_of_a_blob() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let bytes: Vec<u8> = (0..2000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let path = format!("/v2/acme/belt/blobs/{}", push_blob(&app, &acme, "acme/belt", &bytes).await);
        for (range, first, last) in [("500-1499", 500, 1499), ("500-", 500, 1999), ("-500", 1500, 1999), ("1500-99999", 1500, 1999)] {
            let answer = send(&app, &acme, Method::GET, &path, &[("range", &format!("bytes={range}"))], b"").await.expect(206);
            assert_eq!(answer.body, &bytes[first..=last], "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/2000"));
        }
        for range in ["2000-", "-0"] {
            let answer = send(&app, &acme, Method::GET, &path, &[("range", &format!("bytes={range}"))], b"").await.expect(416);
            assert_eq!(answer.header("content-range"), "bytes */2000");
        }
        // Another version than the client has begun: everything, not a part.
        let stale = [("range", "bytes=5-"), ("if-range", "\"sha256:old\"")];
        assert_eq!(send(&app, &acme, Method::GET, &path, &stale, b"").await.expect(200).body.len(), 2000);
        let empty = push_blob(&app, &acme, "acme/belt", b"").await;
        assert!(get(&app, &acme, &format!("/v2/acme/belt/blobs/{empty}")).await.expect(200).body.is_empty());
    })
    .await;
}

#[tokio::test]
async fn chunks_come_in_order_and_a_restart_loses_nothing() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let bytes: Vec<u8> = (0..300_000u32).map(|n| u8::try_from(n % 253).unwrap()).collect();
        let at = start(&app, &acme, "acme/belt").await;
        let first = send(&app, &acme, Method::PATCH, &at, &[("content-range", "0-99999")], &bytes[..100_000]).await.expect(202);
        assert_eq!(first.header("range"), "0-99999");
        for bad in ["200000-299999", "0-99999", "bytes 100000-199999/300000"] {
            let refused = send(&app, &acme, Method::PATCH, &at, &[("content-range", bad)], &bytes[100_000..200_000]).await.expect(416);
            assert_eq!(refused.header("range"), "0-99999");
            assert_eq!(refused.header("location"), at);
        }
        let status = get(&app, &acme, &at).await.expect(204);
        assert_eq!((status.header("range"), status.header("x-upload-offset")), ("0-99999", "100000"));
        // A body that is not as long as its range says changes nothing.
        let short =
            send(&app, &acme, Method::PATCH, &at, &[("content-range", "100000-199999")], &bytes[100_000..150_000]).await.expect(400);
        assert_eq!(short.code(), "SIZE_INVALID");
        send(&app, &acme, Method::PATCH, &at, &[("content-range", "100000-149999")], &bytes[100_000..200_000]).await.expect(400);
        assert_eq!(get(&app, &acme, &at).await.header("x-upload-offset"), "100000");
        // The process is started anew: no hash in memory, and bytes on disk that were never acknowledged.
        let id = at.rsplit('/').next().unwrap();
        uploads::forget(id);
        let mut staged = std::fs::OpenOptions::new().append(true).open(app.blobs.staged(id)).unwrap();
        std::io::Write::write_all(&mut staged, b"torn").unwrap();
        drop(staged);
        let streamed = send(&app, &acme, Method::PATCH, &at, &[], &bytes[100_000..200_000]).await.expect(202);
        assert_eq!(streamed.header("range"), "0-199999");
        let digest = Digest::of(&bytes);
        let done =
            send(&app, &acme, Method::PUT, &format!("{at}?digest={digest}"), &[("content-range", "200000-299999")], &bytes[200_000..])
                .await
                .expect(201);
        assert_eq!(done.header("docker-content-digest"), digest.as_str());
        assert_eq!(get(&app, &acme, done.header("location")).await.expect(200).body, bytes);
        assert_eq!(get(&app, &acme, &at).await.expect(404).code(), "BLOB_UPLOAD_UNKNOWN");
        assert!(!app.blobs.staged(id).exists());
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_breaks_keeps_what_had_come() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let at = start(&app, &acme, "acme/belt").await;
        let id = at.rsplit('/').next().unwrap();
        let pieces: Pieces =
            Box::pin(futures_util::stream::iter([Ok(Bytes::from_static(b"first half, ")), Err(PayloadError::Incomplete(None))]));
        let mut payload = Payload::from(pieces);
        let request = TestRequest::default().to_http_request();
        let payload = actix_web::web::Payload::from_request(&request, &mut payload).await.unwrap();
        let broken = append_to(&app, &acme, "acme/belt", id, Chunk { range: Some((0, 99)), length: Some(100) }, payload).await;
        assert_eq!(broken.unwrap_err().code, "body-broken");
        assert_eq!(get(&app, &acme, &at).await.header("x-upload-offset"), "12");
        let digest = Digest::of(b"first half, second half");
        send(&app, &acme, Method::PUT, &format!("{at}?digest={digest}"), &[], b"second half").await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_digest_stores_nothing() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let claimed = Digest::of(b"other");
        let at = start(&app, &acme, "acme/belt").await;
        send(&app, &acme, Method::PATCH, &at, &[], b"bytes").await.expect(202);
        assert_eq!(send(&app, &acme, Method::PUT, &format!("{at}?digest=sha256:1"), &[], b"").await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(send(&app, &acme, Method::PUT, &at, &[], b"").await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(send(&app, &acme, Method::PUT, &format!("{at}?digest={claimed}"), &[], b"").await.expect(400).code(), "DIGEST_INVALID");
        get(&app, &acme, &at).await.expect(404);
        assert_eq!(app.blobs.size(&claimed).await.unwrap(), None);
        let whole = format!("/v2/acme/belt/blobs/uploads/?digest={claimed}");
        assert_eq!(send(&app, &acme, Method::POST, &whole, &[], b"bytes").await.expect(400).code(), "DIGEST_INVALID");
        assert_eq!(std::fs::read_dir(app.blobs.staged("x").parent().unwrap()).unwrap().count(), 0);
        // The other algorithm of the spec is asked for at the end, and answered in kind.
        let long = format!("sha512:{}", hex::encode(Sha512::digest(b"bytes")));
        let at = start(&app, &acme, "acme/belt").await;
        let done = send(&app, &acme, Method::PUT, &format!("{at}?digest={long}"), &[], b"bytes").await.expect(201);
        assert_eq!(done.header("docker-content-digest"), long);
        assert_eq!(get(&app, &acme, done.header("location")).await.expect(200).body, &b"bytes"[..]);
    })
    .await;
}

#[tokio::test]
async fn only_the_one_who_began_an_upload_goes_on_with_it() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let organization = acme.person().unwrap().organization_id.clone();
        let colleague = testing::member(&app, &organization, Role::Member, "two@acme.example").await;
        let bolt = testing::vendor(&app, "bolt").await;
        let at = start(&app, &acme, "acme/belt").await;
        for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
            let path = if method == Method::PUT { format!("{at}?digest={}", Digest::of(b"x")) } else { at.clone() };
            let refused = send(&app, &colleague, method.clone(), &path, &[], b"x").await.expect(404);
            assert_eq!(refused.code(), "BLOB_UPLOAD_UNKNOWN", "{method}");
            assert_eq!(send(&app, &bolt, method, &path, &[], b"x").await.expect(404).code(), "NAME_UNKNOWN");
        }
        // Nor does it lead into another repository of the same person.
        start(&app, &acme, "acme/other").await;
        send(&app, &acme, Method::PATCH, &at.replace("acme/belt", "acme/other"), &[], b"x").await.expect(404);
        send(&app, &acme, Method::DELETE, &at, &[], b"").await.expect(204);
        get(&app, &acme, &at).await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn uploads_that_nobody_finishes_end() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let old = start(&app, &acme, "acme/belt").await;
        send(&app, &acme, Method::PATCH, &old, &[], b"half").await.expect(202);
        app.clock.advance(TimeDelta::days(4));
        let young = start(&app, &acme, "acme/belt").await;
        app.clock.advance(TimeDelta::days(4));
        get(&app, &acme, &old).await.expect(404);
        testing::drain_jobs(&app).await;
        let staged = app.blobs.staged(old.rsplit('/').next().unwrap());
        assert!(!staged.exists());
        get(&app, &acme, &young).await.expect(204);
        app.clock.advance(TimeDelta::days(4));
        testing::drain_jobs(&app).await;
        get(&app, &acme, &young).await.expect(404);
    })
    .await;
}
