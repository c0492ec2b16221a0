//! A mail to the SMTP server of the settings, by lettre: one connection each. Addresses and headers are encoded by the library.

use std::net::IpAddr;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::model::Message;
use crate::base::config::{self, Settings};

/// Time for a whole dialogue. The library's own limit is for connecting only: a server that says nothing would hold the runner for ever.
const TIME: Duration = Duration::from_secs(30);
/// Characters kept of what a server says.
const MAX_ERROR: usize = 300;

/// Why a mail was not sent.
#[derive(Debug)]
pub struct Failure {
    /// Whether another try is of no use.
    pub lasting: bool,
    /// In words of the server or the library, in one line; no part of the mail.
    pub text: String,
}

impl Failure {
    /// One that stays.
    pub fn lasting(text: impl std::fmt::Display) -> Self {
        Self { lasting: true, text: one_line(&text.to_string()) }
    }

    fn passing(text: impl std::fmt::Display) -> Self {
        Self { lasting: false, text: one_line(&text.to_string()) }
    }
}

fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(MAX_ERROR)
        .collect()
}

/// Sends a message's mail.
pub async fn send(settings: &Settings, message: Message) -> Result<(), Failure> {
    let host = host_of(&settings.server.public_url);
    let mail = build(&settings.mail, &host, message)?;
    let server = settings.mail.clone();
    // Off the async threads: reads the system's root certificates.
    let transport =
        tokio::task::spawn_blocking(move || transport(&server, &host)).await.map_err(Failure::passing)?.map_err(Failure::passing)?;
    match tokio::time::timeout(TIME, transport.send(mail)).await {
        Ok(Ok(_)) => Ok(()),
        // A wrong password can be mended by those who run this server: the mail waits for them.
        Ok(Err(e)) if e.is_permanent() && !is_about_us(&e) => Err(Failure::lasting(e)),
        Ok(Err(e)) => Err(Failure::passing(e)),
        Err(_) => Err(Failure::passing(format!("no end after {} seconds", TIME.as_secs()))),
    }
}

/// Whether a refusal is about our sign-in (530, 534, 535, 538; RFC 4954) and not about this mail.
fn is_about_us(e: &lettre::transport::smtp::Error) -> bool {
    e.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538))
}

fn host_of(url: &str) -> String {
    reqwest::Url::parse(url).ok().and_then(|u| u.host_str().map(ToOwned::to_owned)).unwrap_or_else(|| "localhost".into())
}

fn build(settings: &config::Mail, host: &str, message: Message) -> Result<Mail, Failure> {
    let from: Mailbox = settings.from.parse().map_err(Failure::passing)?;
    let to: Address = message.address.parse().map_err(Failure::lasting)?;
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    Mail::builder()
        .from(from)
        .to(Mailbox::new(None, to))
        .subject(message.subject)
        .message_id(Some(format!("<{}@{host}>", message.id)))
        // RFC 3834: no out-of-office answers.
        .raw_header(automatic)
        .header(ContentType::TEXT_PLAIN)
        .body(message.mail.unwrap_or(message.body))
        .map_err(Failure::lasting)
}

fn transport(settings: &config::Mail, host: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let parameters = || TlsParameters::new(settings.server.clone());
    let tls = match settings.tls.as_str() {
        "none" => Tls::None,
        "tls" => Tls::Wrapper(parameters()?),
        _ => Tls::Required(parameters()?),
    };
    let name = match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => ClientId::Ipv4(ip),
        Ok(IpAddr::V6(ip)) => ClientId::Ipv6(ip),
        Err(_) => ClientId::Domain(host.to_owned()),
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.server).port(settings.port).tls(tls).hello_name(name);
    let builder = builder.timeout(Some(TIME));
    let signed_in = !settings.user.is_empty();
    let builder = if signed_in { builder.credentials(Credentials::new(settings.user.clone(), settings.password.clone())) } else { builder };
    Ok(builder.build())
}
