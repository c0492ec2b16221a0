//! MQTT 3.1.1, with TLS where the address says so.
//!
//! Invariants: the client id stays the same and the session is kept, so what the broker holds for an agent that is down comes when it is back; a
//! payload is bounded before it is parsed; a broker that floods waits for its turn. A message that the broker had retained is not taken: nobody
//! knows how old it is.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Url;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, Incoming, MqttOptions, Publish, QoS, StateError, SubscribeFilter,
    SubscribeReasonCode, Transport,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::{host, unreachable};
use crate::fault::Fault;
use crate::files;
use crate::sources::channels::Channel;

/// Largest payload that is read, in bytes.
const MAX_PAYLOAD: usize = 64 * 1024;
/// Largest packet; one that is larger ends the connection, and what the broker has kept for us is given up.
const MAX_PACKET: usize = 1024 * 1024;
/// Time for giving it up.
const FORGET: Duration = Duration::from_secs(10);
/// Most messages a second.
const MOST: u32 = 1_000;
/// Seconds without a word after which the broker is asked whether it is there.
const KEEP_ALIVE: u16 = 15;
/// Largest file of authorities, in bytes.
const MAX_CA: u64 = 1024 * 1024;

/// Where to, and as whom.
pub struct Broker<'a> {
    pub url: &'a Url,
    /// At most 23 letters and digits, which every broker takes (MQTT 3.1.1, 3.1.3.1).
    pub client: String,
    /// Name and password.
    pub login: Option<(&'a str, &'a str)>,
    /// PEM file of authorities; the system's without one.
    pub ca: Option<&'a Path>,
}

/// Listens until that fails, and gives each value, or why there is none, by the place of its channel. `connected` is called when the broker has
/// let us in, `message` with each message. Codes `source-unreachable`, `source-untrusted`, `credentials-refused`.
pub async fn run(
    broker: &Broker<'_>,
    channels: &[Channel],
    mut value: impl FnMut(usize, Result<f64, String>),
    connected: impl Fn(),
    message: impl Fn(),
) -> Fault {
    let options = match options(broker).await {
        Ok(options) => options,
        Err(fault) => return fault,
    };
    let mut topics: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, channel) in channels.iter().enumerate() {
        topics.entry(&channel.topic).or_default().push(at);
    }
    let (client, mut events) = AsyncClient::builder(options).capacity(4).build();
    let mut turn = (Instant::now(), 0u32);
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                connected();
                let filters = topics.keys().map(|topic| SubscribeFilter::new((*topic).to_owned(), QoS::AtLeastOnce));
                if let Err(e) = client.try_subscribe_many(filters) {
                    return unreachable(e);
                }
            }
            Ok(Event::Incoming(Incoming::SubAck(ack))) => {
                for (places, code) in topics.values().zip(&ack.return_codes) {
                    if *code == SubscribeReasonCode::Failure {
                        for at in places {
                            value(*at, Err("the broker refuses this topic".to_owned()));
                        }
                    }
                }
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                if let Some(places) = std::str::from_utf8(&publish.topic).ok().and_then(|topic| topics.get(topic)) {
                    told(&publish, places, channels, &mut value);
                    message();
                }
                turn.1 += 1;
                if turn.1 >= MOST {
                    tokio::time::sleep(Duration::from_secs(1).saturating_sub(turn.0.elapsed())).await;
                    turn = (Instant::now(), 0);
                }
            }
            Ok(_) => {}
            Err(error) => {
                if is_too_large(&error) {
                    forget(broker).await;
                }
                return fault(&error);
            }
        }
    }
}

fn is_too_large(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::MqttState(StateError::Deserialization(rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(_))))
}

/// Has the broker give the session up, and with it the packet that it would send again at each connection.
async fn forget(broker: &Broker<'_>) {
    let Ok(mut options) = options(broker).await else { return };
    options.set_clean_session(true);
    let (_client, mut events) = AsyncClient::builder(options).capacity(1).build();
    let let_in = async { while !matches!(events.poll().await, Ok(Event::Incoming(Incoming::ConnAck(_))) | Err(_)) {} };
    let _ = tokio::time::timeout(FORGET, let_in).await;
}

/// What a message says of each channel of its topic.
fn told(publish: &Publish, places: &[usize], channels: &[Channel], value: &mut impl FnMut(usize, Result<f64, String>)) {
    if publish.retain {
        return;
    }
    let payload = &*publish.payload;
    if payload.len() > MAX_PAYLOAD {
        for at in places {
            value(*at, Err(format!("a payload of over {MAX_PAYLOAD} bytes")));
        }
        return;
    }
    let pointed = places.iter().any(|at| channels.get(*at).is_some_and(|channel| !channel.pointer.is_empty()));
    let json: Option<Value> = pointed.then(|| serde_json::from_slice(payload).ok()).flatten();
    for at in places {
        let pointer = channels.get(*at).map(|channel| channel.pointer.as_str()).unwrap_or_default();
        value(*at, number(payload, json.as_ref(), pointer));
    }
}

/// The number of a payload, bare or in JSON. Texts that are numbers are taken, and truth as 0 or 1.
fn number(payload: &[u8], json: Option<&Value>, pointer: &str) -> Result<f64, String> {
    let parsed = |text: &str| text.trim().parse().ok();
    let number = if pointer.is_empty() {
        std::str::from_utf8(payload).ok().and_then(parsed)
    } else {
        match json.ok_or("the payload is no JSON")?.pointer(pointer).ok_or("the JSON has nothing at the pointer")? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => parsed(text),
            Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
            _ => None,
        }
    };
    number.filter(|number: &f64| number.is_finite()).ok_or_else(|| "not a finite number".to_owned())
}

async fn options(broker: &Broker<'_>) -> Result<MqttOptions, Fault> {
    let tls = broker.url.scheme() == "mqtts";
    let port = broker.url.port().unwrap_or(if tls { 8883 } else { 1883 });
    let mut options = MqttOptions::new(broker.client.clone(), (host(broker.url), port));
    options.set_keep_alive(KEEP_ALIVE).set_clean_session(false).set_max_packet_size(MAX_PACKET, MAX_PACKET);
    if let Some((user, password)) = broker.login {
        options.set_credentials(user, password.to_owned());
    }
    if tls {
        let ca = broker.ca.map(Path::to_owned);
        let config = tokio::task::spawn_blocking(move || config(ca.as_deref())).await.map_err(unreachable)??;
        options.set_transport(Transport::tls_with_config(config.into()));
    }
    Ok(options)
}

fn untrusted(why: impl std::fmt::Display) -> Fault {
    Fault::new("source-untrusted", "source", why.to_string().chars().take(300).collect::<String>())
}

/// What is trusted. Blocking.
fn config(ca: Option<&Path>) -> Result<ClientConfig, Fault> {
    let certificates = match ca {
        None => rustls_native_certs::load_native_certs().certs,
        Some(path) => {
            let pem = files::read_bounded(path, MAX_CA)?.ok_or_else(|| untrusted("the file of authorities is not there"))?;
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            read.map_err(|e| untrusted(format!("the file of authorities cannot be read: {e}")))?
        }
    };
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err(untrusted("there are no authorities to trust"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unreachable)?;
    Ok(tls.with_root_certificates(roots).with_no_client_auth())
}

fn fault(error: &ConnectionError) -> Fault {
    if let ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized) = error {
        return Fault::new("credentials-refused", "source", "the broker does not take this name and password");
    }
    match certificate(error) {
        Some(why) => untrusted(why),
        None => unreachable(error),
    }
}

/// What TLS says against the broker, wherever in the error it stands.
fn certificate(error: &(dyn Error + 'static)) -> Option<String> {
    let tls = error.downcast_ref::<rustls::Error>();
    if let Some(tls @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) = tls {
        return Some(tls.to_string());
    }
    // An error of input and output does not give what it holds as its source.
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let held = held.map(|held| held as &(dyn Error + 'static));
    held.or_else(|| error.source()).and_then(certificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bare_or_in_json() {
        let of = |payload: &str, pointer: &str| number(payload.as_bytes(), serde_json::from_str(payload).ok().as_ref(), pointer).ok();
        for (payload, pointer, expected) in [
            (" 1.5\n", "", Some(1.5)),
            ("-2e3", "", Some(-2_000.0)),
            ("nan", "", None),
            ("1e999", "", None),
            ("on", "", None),
            ("", "", None),
            (r#"{"a":{"b":[0,2.5]}}"#, "/a/b/1", Some(2.5)),
            (r#"{"a":"2.5"}"#, "/a", Some(2.5)),
            (r#"{"a":true}"#, "/a", Some(1.0)),
            (r#"{"a":"inf"}"#, "/a", None),
            (r#"{"a":{}}"#, "/a", None),
            (r#"{"a":1}"#, "/b", None),
            ("1", "/a", None),
            ("{", "/a", None),
        ] {
            assert_eq!(of(payload, pointer), expected, "{payload} {pointer}");
        }
    }

    #[test]
    fn old_and_large_messages_are_no_values() {
        let channels: Vec<Channel> = vec![serde_json::from_value(serde_json::json!({ "name": "a", "topic": "t" })).unwrap()];
        let of = |payload: Vec<u8>, retain: bool| {
            let mut publish = Publish::new("t", QoS::AtLeastOnce, payload);
            publish.retain = retain;
            let mut values = Vec::new();
            told(&publish, &[0], &channels, &mut |at, value| values.push((at, value.ok())));
            values
        };
        assert_eq!(of(b"1".to_vec(), false), [(0, Some(1.0))]);
        assert_eq!(of(b"1".to_vec(), true), []);
        assert_eq!(of(vec![b'1'; MAX_PAYLOAD + 1], false), [(0, None)]);
    }
}
