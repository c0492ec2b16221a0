//! Mail through a server that we did not write (aiosmtpd), with STARTTLS and a certificate that is verified; and what a person does with the
//! links in it, over HTTP with a browser's cookies.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::Response;

use crate::demo::{Reader, tool};

const PASSWORD: &str = "a lamp in the dark";
const NEW: &str = "another lamp in the dark";
const EMAIL: &str = "owner@new-mine.example";

/// Processes and their folder, which end with the test.
struct Running {
    children: Vec<Child>,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits for a connection to a port.
fn wait_for(port: u16, log: &Path) {
    let begin = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert!(begin.elapsed() < Duration::from_mins(1), "nobody listens on {port}: {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Running {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(pithead::base::ids::new("pithead-mail"));
        std::fs::create_dir_all(&folder).unwrap();
        Self { children: Vec::new(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A mail server with a certificate of its own, which keeps what it gets in the folder `mails`.
    fn mail_server(&mut self) -> u16 {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
        let (port, log) = (free_port(), self.path("mail.log"));
        let child = Command::new(tool("TEST_PYTHON"))
            .args(["-m", "aiosmtpd", "-n", "-l", &format!("localhost:{port}"), "--tlscert"])
            .arg(self.path("cert.pem"))
            .arg("--tlskey")
            .arg(self.path("key.pem"))
            .args(["-c", "aiosmtpd.handlers.Mailbox"])
            .arg(self.path("mails"))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(std::fs::File::create(self.path("mail.err")).unwrap())
            .spawn()
            .unwrap();
        self.children.push(child);
        wait_for(port, &self.path("mail.err"));
        port
    }

    fn pithead(&self, mail_port: u16, port: u16) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pithead"));
        command
            .env("PITHEAD_DATA_DIR", self.path("data"))
            .env("PITHEAD_SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .env("PITHEAD_SERVER__PUBLIC_URL", format!("http://127.0.0.1:{port}"))
            .env("PITHEAD_SERVER__EDGE_LISTEN", "127.0.0.1:0")
            .env("PITHEAD_MAIL__SERVER", "localhost")
            .env("PITHEAD_MAIL__PORT", mail_port.to_string())
            .env("PITHEAD_MAIL__FROM", "Pithead <no-reply@pithead.example>")
            // The system's roots are those of this file: the mail server's certificate.
            .env("SSL_CERT_FILE", self.path("cert.pem"))
            .stdin(Stdio::null());
        command
    }

    /// Texts of the mails to the person, oldest first, once there are so many.
    fn mails(&self, count: usize) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let folder = std::fs::read_dir(self.path("mails").join("new")).into_iter().flatten().flatten();
            let mut files: Vec<PathBuf> = folder.map(|entry| entry.path()).collect();
            files.sort_by_key(|file| std::fs::metadata(file).and_then(|about| about.modified()).unwrap());
            if files.len() >= count {
                return files.iter().map(|file| decoded(&std::fs::read_to_string(file).unwrap())).collect();
            }
            let log = std::fs::read_to_string(self.path("server.log")).unwrap_or_default();
            assert!(begin.elapsed() < Duration::from_mins(1), "{} of {count} mails came: {log}", files.len());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The text of a mail with one part in base64, as texts in Chinese and long ones are sent.
fn decoded(mail: &str) -> String {
    let mail = mail.replace("\r\n", "\n");
    let (head, body) = mail.split_once("\n\n").unwrap();
    assert!(head.contains(&format!("To: {EMAIL}")) && head.contains("From: Pithead <no-reply@pithead.example>"), "{head}");
    if head.contains("Content-Transfer-Encoding: base64") {
        let bytes = base64::engine::general_purpose::STANDARD.decode(body.split_whitespace().collect::<String>()).unwrap();
        return String::from_utf8(bytes).unwrap();
    }
    body.replace("=\n", "").replace("=3D", "=")
}

/// The link of a mail, from its path on.
fn link(mail: &str, path: &str) -> String {
    let (_, rest) = mail.split_once(path).unwrap_or_else(|| panic!("no {path} in {mail}"));
    format!("{path}{}", rest.split_whitespace().next().unwrap())
}

fn location(response: &Response) -> &str {
    response.headers().get("location").unwrap().to_str().unwrap()
}

/// Opens a link of a mail: the secret goes into a cookie, and the address is clean after that.
async fn open(reader: &Reader, link: &str) -> Reader {
    let response = reader.get(link).await;
    assert_eq!((response.status().as_u16(), location(&response)), (303, link.split('?').next().unwrap()));
    reader.with_cookie(&response, "__Host-link")
}

#[tokio::test(flavor = "multi_thread")]
async fn links_come_by_mail_and_do_what_they_say() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut running = Running::new();
    let (mail_port, port) = (running.mail_server(), free_port());
    let log = std::fs::File::create(running.path("server.log")).unwrap();
    let server = running.pithead(mail_port, port).env("PITHEAD_LOG__LEVEL", "info,pithead=debug").arg("serve").stderr(log).spawn().unwrap();
    running.children.push(server);
    wait_for(port, &running.path("server.log"));
    let base = format!("http://127.0.0.1:{port}");

    // Signing up: the address is proved by the button behind the link, not by the link.
    let nobody = Reader::nobody(&base).await;
    let fields =
        [("kind", "operator"), ("slug", "new-mine"), ("name_en", "New mine"), ("name", "Li Na"), ("email", EMAIL), ("password", PASSWORD)];
    let response = nobody.form("/sign-up", &fields).await;
    assert_eq!(response.status(), 303);
    let owner = nobody.signed_in(&response).await;
    let account = async || owner.get("/account").await.text().await.unwrap();
    let proof = link(&running.mails(1)[0], "/confirm-address?secret=");
    assert!(account().await.contains("not confirmed"));
    let there = open(&owner, &proof).await;
    assert!(there.get("/confirm-address").await.text().await.unwrap().contains(EMAIL));
    assert!(account().await.contains("not confirmed"), "looking proves nothing");
    assert_eq!(location(&there.form("/confirm-address", &[]).await), "/account");
    assert!(account().await.contains("confirmed") && !account().await.contains("not confirmed"));

    // A forgotten password.
    let response = nobody.form("/forgotten-password", &[("email", EMAIL)]).await;
    assert_eq!(location(&response), "/forgotten-password");
    let reset = link(&running.mails(2)[1], "/new-password?secret=");
    let there = open(&nobody, &reset).await;
    let refused = there.form("/new-password", &[("password", "qwertyuiop")]).await;
    assert_eq!(refused.status(), 422);
    assert!(refused.text().await.unwrap().contains("guessed first"));
    let chosen = there.form("/new-password", &[("password", NEW)]).await;
    assert_eq!(location(&chosen), "/mine", "signed in here");
    nobody.signed_in(&chosen).await;
    assert_eq!(there.form("/new-password", &[("password", NEW)]).await.status(), 410, "used");
    assert_eq!(nobody.get("/new-password").await.status(), 410, "without a link");
    assert_eq!(owner.get("/account").await.status(), 303, "signed out");
    assert_eq!(nobody.form("/sign-in", &[("email", EMAIL), ("password", PASSWORD)]).await.status(), 401);
    let response = nobody.form("/sign-in", &[("email", EMAIL), ("password", NEW)]).await;
    assert_eq!(response.status(), 303);
    assert!(running.mails(3)[2].contains("was changed"));

    // By the command line, beside the server.
    let owner = nobody.signed_in(&response).await;
    let output = running.pithead(mail_port, port).args(["admin", "reset-password", EMAIL]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let there = open(&nobody, printed.trim().strip_prefix(&base).unwrap()).await;
    assert_eq!(there.form("/new-password", &[("password", PASSWORD)]).await.status(), 303);
    assert_eq!(owner.get("/account").await.status(), 303, "signed out");
    let output = running.pithead(mail_port, port).args(["admin", "reset-password", "nobody@new-mine.example"]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());

    // No secret in the log, also where it says all that it can.
    let log = std::fs::read_to_string(running.path("server.log")).unwrap();
    for link in [&proof, &reset] {
        assert!(!log.contains(link.split_once('=').unwrap().1), "{log}");
    }
}
