//! The real agent and callers of its local API who hold it up, or send what costs much.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::json;
use support::node::{Node, until};
use support::{Server, app};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn deploy(server: &Server) {
    let (files, manifest) = app("1.0.0", 3.0);
    let release = server.publish(&files, &manifest);
    server.deploy("dep_1", &release, &Server::claims(&release), json!({ "limit": 2.0 }));
}

/// A node that serves the app.
async fn serving(server: &Server) -> Node {
    let mut node = Node::enrol(server);
    deploy(server);
    node.start();
    node.serves().await;
    node
}

/// Sends the head of a request and one byte of its body of so many from this address; gives the connection.
async fn slow_body(node: SocketAddr, from: IpAddr, length: usize) -> std::io::Result<tokio::net::TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(node).await?;
    let head = format!("POST /v1/apps/belt-load/predict HTTP/1.1\r\nHost: {node}\r\nContent-Length: {length}\r\n\r\nx");
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_send_slowly_or_much_hold_up_nobody_else() {
    let server = Server::start();
    let node = serving(&server).await;
    let address: SocketAddr = node.address.parse().unwrap();
    let mut slow = Vec::new();
    for _ in 0..600 {
        slow.push(slow_body(address, [127, 0, 0, 1].into(), 1_000).await.unwrap());
    }
    // The slow callers and this one are programs of the same machine.
    let begin = Instant::now();
    assert_eq!(node.predict().await.unwrap().0, 200);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    // Nor do those who take all memory with what they announce: they stand still, and a large body takes their place.
    let mut announced = Vec::new();
    for _ in 0..8 {
        announced.push(slow_body(address, [127, 0, 0, 1].into(), 20_000_000).await.unwrap());
    }
    // As long as a wireless line may stop nobody gives way.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let begin = Instant::now();
    assert_eq!(node.predict().await.unwrap().0, 200);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    // With what three of those hold there is no room for a body of 18 MB.
    let rows = "1,2,3,4\n".repeat(2_300_000);
    let (status, answer) = node.post("/v1/apps/belt-load/predict", format!("p,q,r,s\n{rows}")).await.unwrap();
    assert!(status == 200 || answer["code"] == "input-too-large", "{status} {answer}");
    drop(announced);
    // Who gives way is told when to come back; a slow body that is in nobody's way ends by itself.
    let ends = async |mut stream: tokio::net::TcpStream| {
        let mut text = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await.expect("the connection ends");
        read.unwrap();
        String::from_utf8_lossy(&text).to_ascii_lowercase()
    };
    let mut told = 0;
    for stream in slow {
        let text = ends(stream).await;
        assert!(text.contains(" 503 ") || text.contains(" 408 "), "{text}");
        if text.contains(" 503 ") {
            assert!(text.contains("api-busy") && text.contains("retry-after"), "{text}");
            told += 1;
        }
    }
    assert!(told > 300, "{told}");
    let text = ends(slow_body(address, [127, 0, 0, 1].into(), 1_000).await.unwrap()).await;
    assert!(text.contains(" 408 ") && text.contains("body-too-slow"), "{text}");

    // Tensors of 6 MB as JSON: an ordinary call beside them is answered soon.
    let numbers = "1,".repeat(3_000_000);
    let question = format!(r#"{{"inputs":[{{"name":"x","shape":[3000001],"datatype":"FP32","data":[{numbers}1]}}]}}"#);
    let large: Vec<_> = (0..4)
        .map(|_| {
            let call = node.client.post(format!("http://{}/v2/models/belt/infer", node.address)).body(question.clone());
            tokio::spawn(async move { call.send().await.unwrap().status().as_u16() })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begin = Instant::now();
    assert_eq!(node.predict().await.unwrap().0, 200);
    let took = begin.elapsed();
    for call in large {
        let status = call.await.unwrap();
        assert!([400, 503].contains(&status), "the shape is not the model's, or the memory is in use: {status}");
    }
    assert!(took < Duration::from_secs(2), "{took:?}");
    let peak = node.peak_memory();
    println!("predict beside four tensors of 6 MB: {took:?}; peak memory of the agent: {} MiB", peak >> 20);
    assert!(peak < 250 << 20, "{peak}");
}

/// A question after many blanks, sent in bursts of 64 KB, about 100 KB a second: the answer.
async fn honest_and_slow(node: SocketAddr) -> String {
    let question = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#;
    let text = format!("{}{question}", " ".repeat(400_000));
    let mut stream = tokio::net::TcpStream::connect(node).await.unwrap();
    let head =
        format!("POST /v2/models/belt/infer HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", text.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    for part in text.as_bytes().chunks(64 * 1024) {
        stream.write_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(650)).await;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A CSV in chunks, whose length is not told: the head, and this many rows.
async fn untold(node: SocketAddr, rows: usize) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(node).await.unwrap();
    let head =
        format!("POST /v1/apps/belt-load/predict HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    let rows = format!("p,q,r,s\n{}", "1,2,3,4\n".repeat(rows));
    stream.write_all(format!("{head}{:x}\r\n{rows}\r\n", rows.len()).as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_callers_on_slow_lines_and_of_untold_length_are_served() {
    let server = Server::start();
    let node = serving(&server).await;
    let address: SocketAddr = node.address.parse().unwrap();
    let answer = honest_and_slow(address).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Beside bodies that take all memory, and wait for more.
    let slow = tokio::spawn(honest_and_slow(address));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut announced = Vec::new();
    for _ in 0..20 {
        announced.push(slow_body(address, [127, 0, 0, 1].into(), 20_000_000).await.unwrap());
    }
    let answer = slow.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(announced);
    // Twenty who do not tell their lengths, and have begun only, leave room for a large body, and for one that tells none and grows.
    let mut begun = Vec::new();
    for _ in 0..20 {
        begun.push(untold(address, 1).await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let rows = "1,2,3,4\n".repeat(2_300_000);
    let (status, answer) = node.post("/v1/apps/belt-load/predict", format!("p,q,r,s\n{rows}")).await.unwrap();
    assert!(status == 200 || answer["code"] == "input-too-large", "{status} {answer}");
    let mut grown = untold(address, 1_000_000).await;
    grown.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    grown.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.contains("input-too-large"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_asks_for_its_token_where_one_is_set() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    let file = node.data.join("token");
    std::fs::write(&file, "0123456789abcdef0123\n").unwrap();
    node.start_as(&["--token-file", &file.display().to_string()], &[]);
    until("the API", async || node.get("/v2/health/live").await.filter(|(status, _)| *status == 200)).await;
    for path in ["/", "/v1/apps", "/metrics", "/v2"] {
        let (status, text) = node.get(path).await.unwrap();
        assert_eq!(status, 401, "{path}");
        assert!(text.contains("token-missing"), "{text}");
        for (token, expected) in [("wrong", 401), ("0123456789abcdef0123", 200)] {
            let call = node.client.get(format!("http://{}{path}", node.address)).bearer_auth(token);
            assert_eq!(call.send().await.unwrap().status(), expected, "{path}");
        }
    }
    node.kill();
    std::fs::write(&file, "short").unwrap();
    let refused = node.command(&["--token-file", &file.display().to_string()]).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("shorter than"));
    // A folder that has had a token does not open by the loss of the file; one from before goes on, and says that it is open.
    std::fs::remove_file(&file).unwrap();
    let refused = node.command(&["--token-file", &file.display().to_string()]).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("no token"));
    std::fs::remove_file(node.data.join("token-used")).unwrap();
    node.start_as(&["--token-file", &file.display().to_string()], &[]);
    until("the API", async || node.get("/v2/health/live").await.filter(|(status, _)| *status == 200)).await;
    assert!(node.ready().await.1.to_string().contains("api-open"));
    let page = node.get("/").await.unwrap();
    assert!(page.0 == 200 && page.1.contains("api-open"), "{}", page.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_many_small_parts_cost_no_more_than_their_bytes() {
    let server = Server::start();
    let node = serving(&server).await;
    let input = |fields: &str| format!(r#"{{"name":"x","shape":[1,4],"datatype":"FP32",{fields}"data":[1,2,3,4]}}"#);
    let keys = || (0..1_800_000).fold(String::new(), |all, n| all + &format!("\"{n:x}\":0,"));
    let (ones, plain) = ("1,".repeat(9_000_000), input(""));
    let right = [
        format!(r#"{{"parameters":{{{}"z":0}},"inputs":[{plain}]}}"#, keys()),
        format!(r#"{{"inputs":[{}]}}"#, input(&format!(r#""parameters":{{{}"z":0}},"#, keys()))),
        format!(r#"{{"inputs":[{plain}],{}"z":0}}"#, keys()),
    ];
    let wrong = [
        format!(r#"{{"inputs":[{plain}],"outputs":[{}{{"name":"y"}}]}}"#, r#"{"name":"y"},"#.repeat(1_400_000)),
        format!(r#"{{"inputs":[{}{plain}]}}"#, format!("{},", input("")).repeat(250_000)),
        format!(r#"{{"inputs":[{{"name":"x","shape":[{ones}1],"datatype":"UINT8","data":[]}}]}}"#),
        format!(r#"{{"inputs":[{{"name":"x","shape":[9000001],"datatype":"FP64","data":[{ones}1]}}]}}"#),
        format!(r#"{{"inputs":[{{"name":"x","shape":[1,4],"datatype":"FP32","data":[{ones}1]}}]}}"#),
        format!(r#"{{"id":"{}","inputs":[{plain}]}}"#, "i".repeat(18_000_000)),
    ];
    for (question, served) in right.into_iter().map(|q| (q, true)).chain(wrong.into_iter().map(|q| (q, false))) {
        let begin = question.get(..60).unwrap().to_owned();
        let (status, answer) = node.post("/v2/models/belt/infer", question).await.unwrap();
        if served {
            assert_eq!((status, &answer["outputs"][0]["data"]), (200, &json!([1.0, 2.0, 3.0, 4.0])), "{begin}");
        } else {
            let code = answer["code"].as_str().unwrap();
            assert!(
                [400, 413].contains(&status) && ["request-invalid", "tensor-shape", "body-too-large"].contains(&code),
                "{begin}: {answer}"
            );
            assert!(answer.to_string().len() < 500, "{begin}");
        }
    }
    let peak = node.peak_memory();
    println!("peak memory of the agent: {} MiB", peak >> 20);
    assert!(peak < 160 << 20, "{peak}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_bodies_are_taken_and_what_grows_too_large_is_refused() {
    let server = Server::start();
    let node = serving(&server).await;
    let post = async |path: &str, encoding: &str, body: Vec<u8>| {
        let call = node.client.post(format!("http://{}{path}", node.address)).header("Content-Encoding", encoding).body(body);
        let answer = call.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice::<serde_json::Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    let predict = "/v1/apps/belt-load/predict";
    let csv = "p,q,r,s\n1,2,3,4\n";
    let plain = node.predict().await.unwrap().1;
    for (encoding, body) in [("gzip", gzip(csv.as_bytes())), ("deflate", zlib(csv.as_bytes())), ("identity", csv.into())] {
        let (status, answer) = post(predict, encoding, body).await;
        assert_eq!((status, &answer["values"]), (200, &plain["values"]), "{encoding}: {answer}");
    }
    // A question that grows to 2 MB, beyond what is held for a body of its length.
    let question = format!(r#"{}{{"inputs":[{{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}}]}}"#, " ".repeat(2_000_000));
    let (status, answer) = post("/v2/models/belt/infer", "gzip", gzip(question.as_bytes())).await;
    assert_eq!((status, &answer["outputs"][0]["data"]), (200, &json!([1.0, 2.0, 3.0, 4.0])), "{answer}");

    let bomb = gzip(&vec![b' '; 60_000_000]);
    assert!(bomb.len() < 1_000_000, "{}", bomb.len());
    for _ in 0..8 {
        let (status, answer) = post("/v2/models/belt/infer", "gzip", bomb.clone()).await;
        assert_eq!((status, &answer["code"]), (413, &json!("body-too-large")));
    }
    for (encoding, body, expected) in [
        ("gzip", csv.as_bytes().to_vec(), (400, "body-unreadable")),
        ("deflate", gzip(csv.as_bytes()), (400, "body-unreadable")),
        ("br", csv.as_bytes().to_vec(), (415, "encoding-not-supported")),
        ("gzip, gzip", gzip(&gzip(csv.as_bytes())), (415, "encoding-not-supported")),
    ] {
        let (status, answer) = post(predict, encoding, body).await;
        assert_eq!((status, answer["code"].as_str().unwrap()), expected, "{encoding}");
    }
    let peak = node.peak_memory();
    assert!(peak < 160 << 20, "{peak}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_the_queue_full_is_told_when_to_come_back_and_monitors_may_ask_by_head() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    deploy(&server);
    node.start_as(&["--waiting", "1", "--connections", "300"], &[]);
    node.serves().await;
    let question = r#"{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#;
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let call = node.client.post(format!("http://{}/v2/models/belt/infer", node.address)).body(question);
            tokio::spawn(async move {
                let answer = call.send().await.unwrap();
                let after = answer.headers().get("retry-after").map(|after| after.to_str().unwrap().to_owned());
                (answer.status().as_u16(), after, answer.text().await.unwrap())
            })
        })
        .collect();
    let (mut done, mut refused) = (0u64, 0);
    for call in calls {
        match call.await.unwrap() {
            (200, ..) => done += 1,
            (status, after, text) => {
                assert_eq!((status, after.as_deref()), (503, Some("1")), "{text}");
                assert!(text.contains("app-busy"), "{text}");
                refused += 1;
            }
        }
    }
    assert!(done > 0 && refused > 0, "{done} {refused}");

    let statistics = node.get("/v2/models/belt/stats").await.unwrap();
    let statistics: serde_json::Value = serde_json::from_str(&statistics.1).unwrap();
    let of = &statistics["model_stats"][0];
    assert!(of["inference_count"].as_u64().unwrap() > done, "{statistics}");
    assert!(
        of["inference_stats"]["success"]["ns"].as_u64().unwrap() > 0 && of["inference_stats"]["fail"]["count"].as_u64().unwrap() >= refused
    );
    assert_eq!(node.get("/v2/models/stats").await.unwrap().0, 200);
    assert_eq!(node.get("/v2/models/other/stats").await.unwrap().0, 404);

    for path in ["/v2/health/live", "/v2/health/ready", "/metrics", "/v2", "/v2/models/belt/ready", "/"] {
        let answer = node.client.head(format!("http://{}{path}", node.address)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.headers().contains_key("content-type"), "{path}");
        assert!(answer.bytes().await.unwrap().is_empty(), "{path}");
    }
    for (option, value) in [("--waiting", "0"), ("--connections", "1")] {
        assert!(!node.command(&[option, value]).output().unwrap().status.success(), "{option} {value}");
    }
}

/// A connection from an address of this machine that takes little unread.
async fn connect(node: SocketAddr, from: [u8; 4]) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((IpAddr::from(from), 0).into()).unwrap();
    socket.connect(node).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_read_nothing_lose_their_connections_and_nobody_has_all_of_them() {
    let server = Server::start();
    let mut node = Node::enrol(&server);
    deploy(&server);
    node.start_as(&["--connections", "16"], &[]);
    node.serves().await;
    let address: SocketAddr = node.address.parse().unwrap();
    // More than the buffers of this machine's own line take.
    let (asked, page) = (4_000, node.get("/").await.unwrap().1.len());
    assert!(asked * page > 8 << 20, "{page}");
    let question = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(asked);
    let mut deaf = Vec::new();
    for n in 0..6u8 {
        let mut stream = connect(address, [127, 0, 0, 2 + n % 2]).await;
        // The rest is not taken, for the answers are not.
        let _ = tokio::time::timeout(Duration::from_millis(500), stream.write_all(question.as_bytes())).await;
        deaf.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(16)).await;
    for mut stream in deaf {
        let mut answers = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answers)).await;
        assert!(ended.is_ok(), "the connection has ended");
        assert!(answers.len() < asked * page, "{} of {}", answers.len(), asked * page);
    }
    assert_eq!(node.predict().await.unwrap().0, 200);

    // One of thirteen is over the bound of its address, whichever is noticed last.
    let mut idle = Vec::new();
    for _ in 0..13 {
        idle.push(connect(address, [127, 0, 0, 4]).await);
    }
    let ended = idle.iter_mut().map(async |stream| {
        let mut byte = [0];
        matches!(tokio::time::timeout(Duration::from_secs(2), stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
    });
    let ended = futures_util::future::join_all(ended).await;
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
    assert_eq!(node.predict().await.unwrap().0, 200);
}
