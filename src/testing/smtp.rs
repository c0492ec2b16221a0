//! An SMTP server for tests: speaks RFC 5321 over TCP, keeps what it is given, and refuses what it is told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::base::app::App;
use crate::base::config::Settings;

/// A mail as it came.
#[derive(Debug, Clone)]
pub struct Mail {
    /// `MAIL FROM` and `RCPT TO`, without brackets.
    pub from: String,
    pub to: Vec<String>,
    /// Header lines, unfolded.
    pub headers: Vec<String>,
    /// The decoded text.
    pub text: String,
}

impl Mail {
    /// Value of the only header of a name.
    pub fn header(&self, name: &str) -> String {
        let found: Vec<_> =
            self.headers.iter().filter_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name))).collect();
        assert_eq!(found.len(), 1, "{name} in {:?}", self.headers);
        found[0].1.to_owned()
    }

    /// The link in the text, from its path on.
    pub fn link(&self, site: &str) -> String {
        self.text.split_whitespace().find_map(|word| word.strip_prefix(site)).unwrap_or_else(|| panic!("no link: {}", self.text)).to_owned()
    }
}

#[derive(Debug, Default)]
struct State {
    mails: Vec<Mail>,
    refusals: VecDeque<&'static str>,
    greetings: Vec<String>,
}

/// The server, for as long as the value lives.
#[derive(Debug)]
pub struct SmtpServer {
    port: u16,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl SmtpServer {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A client that goes away is no failure of the test.
                tokio::spawn(dialogue(socket, shared.clone()));
            }
        });
        Self { port, state, task }
    }

    /// Settings that reach it.
    pub fn settings(&self, settings: &mut Settings) {
        settings.mail.server = "127.0.0.1".into();
        settings.mail.port = self.port;
        settings.mail.tls = "none".into();
        settings.mail.from = "坑口 <no-reply@pithead.example>".into();
    }

    /// Refuses the next recipients with these answers.
    pub fn refuse(&self, answers: &[&'static str]) {
        self.state.lock().unwrap().refusals.extend(answers);
    }

    /// Takes the mails that came.
    pub fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut self.state.lock().unwrap().mails)
    }

    /// Names that clients gave at their greeting.
    pub fn greetings(&self) -> Vec<String> {
        self.state.lock().unwrap().greetings.clone()
    }
}

/// As [`super::each_backend`], with a server that takes the mail of both.
pub async fn each_backend_with_mail<F, Fut>(body: F)
where
    F: Fn(App, Arc<SmtpServer>) -> Fut,
    Fut: Future<Output = ()>,
{
    let server = Arc::new(SmtpServer::start().await);
    super::each_backend_with(|settings| server.settings(settings), |app| body(app, server.clone())).await;
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn dialogue(socket: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let (read, mut write) = socket.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 sink.example ESMTP\r\n").await?;
    let (mut from, mut to) = (String::new(), Vec::new());
    let bracketed = |line: &str| {
        line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(address, _)| address.to_owned()).unwrap_or_default()
    };
    while let Some(line) = lines.next_line().await? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => {
                state.lock().unwrap().greetings.push(line.split_once(' ').map_or("", |(_, name)| name).to_owned());
                "250-sink.example\r\n250 8BITMIME"
            }
            "MAIL" => {
                from = bracketed(&line);
                "250 ok"
            }
            "RCPT" => {
                let refused = state.lock().unwrap().refusals.pop_front();
                if refused.is_none() {
                    to.push(bracketed(&line));
                }
                refused.unwrap_or("250 ok")
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                let mut data = Vec::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    data.push(line.strip_prefix('.').unwrap_or(&line).to_owned());
                }
                let mail = parse(std::mem::take(&mut from), std::mem::take(&mut to), &data);
                state.lock().unwrap().mails.push(mail);
                "250 taken"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "500 what?",
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

fn parse(from: String, to: Vec<String>, data: &[String]) -> Mail {
    let end = data.iter().position(String::is_empty).unwrap();
    let mut headers: Vec<String> = Vec::new();
    for line in &data[..end] {
        match headers.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => headers.push(line.clone()),
        }
    }
    let encoding = headers.iter().find_map(|h| h.strip_prefix("Content-Transfer-Encoding: ")).unwrap_or("7bit").to_owned();
    let body = &data[end + 1..];
    let text = match encoding.as_str() {
        "base64" => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(body.concat()).unwrap();
            String::from_utf8(bytes).unwrap()
        }
        "quoted-printable" => unquote(&body.join("\n")),
        _ => body.join("\n"),
    };
    Mail { from, to, headers, text }
}

/// RFC 2045 §6.7.
fn unquote(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.replace("=\n", "").into_bytes().into_iter();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
