//! What strangers send to a server as it is started writes no error into its log: garbage, broken handshakes, bodies that end early.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// Sends bytes, says that there are no more, and reads what comes.
fn send(port: u16, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(6))).unwrap();
    // The server may have closed it at the first bytes.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn strangers_write_no_errors() {
    let folder = std::env::temp_dir().join(pithead::base::ids::new("pithead-noise"));
    std::fs::create_dir_all(&folder).unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (site, edge) = (free(), free());
    let settings = format!(
        "data_dir = \"{0}/data\"\n[server]\nlisten = \"127.0.0.1:{site}\"\nedge_listen = \"127.0.0.1:{edge}\"\nworkers = 1\nshutdown_seconds = 1\n",
        folder.display()
    );
    std::fs::write(folder.join("pithead.toml"), settings).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_pithead"))
        .arg("--config")
        .arg(folder.join("pithead.toml"))
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    let process = Process(child);
    let begin = Instant::now();
    while !log(&folder).contains("ready") {
        assert!(begin.elapsed() < Duration::from_mins(1), "{}", log(&folder));
        std::thread::sleep(Duration::from_millis(50));
    }

    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00];
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "a".repeat(300_000));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(500));
    let form = "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let upload = "POST /v2/acme/belt/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n";
    let sent: Vec<(String, Vec<u8>)> = [
        ("a TLS hello", hello.to_vec()),
        ("garbage", vec![0, 255, 13, 10, 13, 10]),
        ("another protocol", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a version that is none", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_vec()),
        ("a header that is too large", large.into_bytes()),
        ("too many headers", many.into_bytes()),
        ("a body that ends early", format!("{form}Content-Length: 99\r\n\r\na=").into_bytes()),
        ("a chunk that is none", format!("{form}Transfer-Encoding: chunked\r\n\r\nxyz\r\na=b\r\n").into_bytes()),
        ("two lengths", format!("{form}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n").into_bytes()),
        ("an upload that ends early", format!("{upload}Content-Length: 99\r\n\r\nabc").into_bytes()),
        ("an upload in bad chunks", format!("{upload}Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n").into_bytes()),
        ("half a head", b"GET /apps HTTP/1.1\r\nHost: x\r\nAccept-Lan".to_vec()),
        ("all methods of the server", b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("a tunnel", b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec()),
        ("a path that is none", b"GET /%zz/%00/../..\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
    ]
    .map(|(what, bytes)| (what.to_owned(), bytes))
    .into();
    for port in [site, edge] {
        for (what, bytes) in &sent {
            let answer = send(port, bytes);
            let told = log(&folder);
            let status = answer.split(' ').nth(1).unwrap_or("none");
            assert!(!status.starts_with('5') || status == "505", "{what}: {answer}");
            assert!(!told.contains("ERROR") && !told.contains("panicked"), "{what} on port {port}: {told}");
        }
    }
    // It goes on.
    assert!(send(site, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 200"));
    std::thread::sleep(Duration::from_millis(300));
    let told = log(&folder);
    assert!(!told.contains("ERROR"), "{told}");
    drop(process);
    let _ = std::fs::remove_dir_all(&folder);
}
