//! Over a real socket: what only a real server shows.

use super::*;

/// One request over a real socket; gives the head and the body.
async fn wire(address: std::net::SocketAddr, request: &[u8]) -> (String, Vec<u8>) {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase(), bytes[end..].to_vec())
}

/// What only a real server shows: HEAD with a length and no body, a chunked body, a large one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_wire() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let token = token::issue(&app, &acme, &["repository:acme/belt:push".into()]).await.unwrap().token;
        let server = Server::start(app.clone()).await.unwrap();
        let host = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
        let (head, _) =
            wire(server.address, format!("POST /v2/acme/belt/blobs/uploads/ HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n").as_bytes()).await;
        assert!(head.starts_with("http/1.1 202"), "{head}");
        let location = head.lines().find_map(|l| l.strip_prefix("location: ")).unwrap().to_owned();
        // Docker's way: one PATCH without range or length.
        let bytes: Vec<u8> = (0..20_000_000u32).map(|n| u8::try_from(n % 241).unwrap()).collect();
        let mut request = format!("PATCH {location} HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for piece in bytes.chunks(1_000_000) {
            request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            request.extend_from_slice(piece);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let (head, _) = wire(server.address, &request).await;
        assert!(head.starts_with("http/1.1 202") && head.contains("range: 0-19999999\r\n"), "{head}");
        let digest = Digest::of(&bytes);
        let (head, _) =
            wire(server.address, format!("PUT {location}?digest={digest} HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n").as_bytes()).await;
        assert!(head.starts_with("http/1.1 201"), "{head}");
        let blob = format!("/v2/acme/belt/blobs/{digest}");
        let (head, body) = wire(server.address, format!("HEAD {blob} HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 20000000\r\n") && body.is_empty(), "{head}");
        let (head, body) = wire(server.address, format!("GET {blob} HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        assert!(head.contains("content-length: 20000000\r\n") && !head.contains("set-cookie") && body == bytes, "{head}");
        let manifest = push_layer(&app, &acme, "acme/belt", b"l", None).await.to_bytes();
        put_manifest(&app, &acme, "acme/belt", "latest", &manifest).await.expect(201);
        let (head, body) = wire(server.address, format!("HEAD /v2/acme/belt/manifests/latest HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        assert!(head.contains(&format!("content-length: {}\r\n", manifest.len())) && body.is_empty(), "{head}");
        assert!(head.contains(&format!("content-type: {MANIFEST_TYPE}\r\n")), "{head}");
        server.stop().await;
    })
    .await;
}
