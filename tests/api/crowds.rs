//! Many connections from one address, by real sockets: beyond its bound it is told to come again, and everybody else is served.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::server::TestServer;

/// A connection from an address of this machine that takes little unread.
async fn connect(server: &TestServer, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let to: SocketAddr = server.base.strip_prefix("http://").unwrap().parse().unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends some bytes, and reads the beginning of the answer only.
async fn ask(mut socket: TcpStream, bytes: &str) -> (TcpStream, String) {
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut head = vec![0; 700];
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read(&mut head)).await.unwrap().unwrap();
    (socket, String::from_utf8_lossy(&head[..read]).into_owned())
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// A form whose body never comes.
const UNENDING: &str = "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\n";

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or("none")
}

async fn status_from(server: &TestServer, from: &str, path: &str) -> String {
    let (_, head) = ask(connect(server, from).await, &get(path)).await;
    status(&head).to_owned()
}

/// Waits for a status from an address, five seconds at most.
async fn becomes(server: &TestServer, from: &str, expected: &str) -> bool {
    for _ in 0..50 {
        if status_from(server, from, "/").await == expected {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_holds_up_nobody_else() {
    let server = TestServer::start().await;
    let (begin, told) = (Instant::now(), AtomicUsize::new(0));
    // Nothing else is asked meanwhile: a request between them would take the place of one.
    let sent = join_all((0..300).map(async |_| {
        let mut socket = connect(&server, "127.0.0.2").await;
        socket.write_all(UNENDING.as_bytes()).await.unwrap();
        let mut head = vec![0; 700];
        let mut answer = None;
        // Each refusal comes within 15 s; who waits longer than all of those is held.
        while answer.is_none() && told.load(Ordering::Relaxed) < 44 && begin.elapsed() < Duration::from_secs(15) {
            answer = tokio::time::timeout(Duration::from_millis(500), socket.read(&mut head)).await.ok();
            told.fetch_add(usize::from(answer.is_some()), Ordering::Relaxed);
        }
        (socket, answer.map(|read| String::from_utf8_lossy(&head[..read.unwrap()]).into_owned()))
    }));
    let (held, refused): (Vec<_>, Vec<_>) = sent.await.into_iter().partition(|(_, answer)| answer.is_none());
    assert_eq!((held.len(), refused.len()), (256, 44));
    for head in refused.iter().filter_map(|(_, answer)| answer.as_ref()) {
        assert!(status(head) == "429" && head.to_lowercase().contains("retry-after: 10"), "{head}");
    }
    assert_eq!(status_from(&server, "127.0.0.2", "/v2/").await, "429");
    assert_eq!(status_from(&server, "127.0.0.2", "/healthz").await, "200", "a probe of the machine itself");
    assert_eq!(status_from(&server, "127.0.0.1", "/").await, "200");
    drop(held);
    assert!(becomes(&server, "127.0.0.2", "200").await, "what was let go of is free");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_is_an_open_request() {
    let server = TestServer::start_with(|settings| settings.server.open_per_address = 6).await;
    // The buffers of this machine's own line take 4 MiB: the largest file, 0.7 MiB, for ten times.
    let large = get(&pithead::http::assets::url("vendor/echarts/echarts.common.min.js")).repeat(10);
    let held = join_all((0..6).map(async |_| ask(connect(&server, "127.0.0.2").await, &large).await)).await;
    assert!(held.iter().all(|(_, head)| status(head) == "200"));
    assert!(becomes(&server, "127.0.0.2", "429").await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status_from(&server, "127.0.0.2", "/").await, "429", "for as long as they do not read");
    assert_eq!(status_from(&server, "127.0.0.1", "/").await, "200");
    drop(held);
    assert!(becomes(&server, "127.0.0.2", "200").await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_a_bounded_number_of_connections() {
    let server = TestServer::start().await;
    let idle = join_all((0..512).map(|_| connect(&server, "127.0.0.3"))).await;
    // Each worker takes those that it is given in its own time.
    assert!(becomes(&server, "127.0.0.3", "429").await);
    assert_eq!(status_from(&server, "127.0.0.1", "/sign-in").await, "200");
    drop(idle);
    server.stop().await;
}
