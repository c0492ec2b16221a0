//! Enrolment with a one-time code, and renewal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::clock::Clock;
use crate::cloud::{problem_of, read_body};
use crate::fault::Fault;
use crate::identity::{Identity, Issued, Request};
use crate::trust::Trust;
use crate::{files, tls};

/// Largest answer to enrolment or renewal, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Checks `sha256:<64 hex>`.
fn pin_of(text: &str) -> Result<String, Fault> {
    let pin = text.trim().to_ascii_lowercase();
    let fault = || Fault::new("ca-pin-invalid", "identity", "the CA pin must be sha256: and 64 hexadecimal digits");
    let hex = pin.strip_prefix("sha256:").ok_or_else(fault)?;
    if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) { Ok(pin) } else { Err(fault()) }
}

/// Makes a key, shows the code to the server, stores the identity. Refuses to overwrite one.
pub async fn enroll(data: &Path, server: &str, code: &str, ca_pin: &str, listen: Option<String>) -> Result<Identity, Fault> {
    if Identity::load(data)?.is_some() {
        return Err(Fault::new("already-enrolled", "identity", "this data folder holds an identity; use another folder"));
    }
    let fresh = !data.exists();
    // The folder is made first: no code must be used up for one that cannot be written.
    files::private_dir(data)?;
    let enrolled = enroll_in(data, server, code, ca_pin, listen).await;
    if enrolled.is_err() && fresh {
        // `remove_dir` takes an empty folder only: nothing that was stored is lost.
        let _ = std::fs::remove_dir(data);
    }
    enrolled
}

async fn enroll_in(data: &Path, server: &str, code: &str, ca_pin: &str, listen: Option<String>) -> Result<Identity, Fault> {
    let server = server.trim_end_matches('/');
    let client = tls::client(tls::Expect::Pin(pin_of(ca_pin)?), None, Arc::new(Clock::fresh()))?;
    let request = Request::new()?;
    let body = json!({ "code": code.trim(), "csr_pem": request.csr_pem, "agent_version": env!("CARGO_PKG_VERSION") });
    let issued = ask(client.post(format!("{server}/edge/enroll")).json(&body)).await.map_err(|fault| wrong_pin(fault, server))?;
    let root = issued.root.clone();
    let mut identity = Identity::accept(server, &request, issued)?;
    identity.listen = listen;
    if let Some(root) = root {
        Trust::enrol(data, &root)?;
    }
    // The identity last: without it the node is not enrolled.
    identity.save(data)?;
    Ok(identity)
}

/// Names a failed check of the pin as such: our own check broke the connection, not a bad line.
fn wrong_pin(fault: Fault, server: &str) -> Fault {
    if !fault.message.contains(tls::PIN_MISMATCH) {
        return fault;
    }
    let message = format!(
        "{server} does not show the certificate authority of --ca-pin. Compare address and pin with the node's page; if both are \
         right, somebody answers in the platform's place"
    );
    Fault::new("ca-pin-mismatch", "identity", message)
}

/// Makes a new key and asks for its certificate, under the present identity. The caller stores the result.
pub async fn renew(identity: &Identity, client: &reqwest::Client) -> Result<Identity, Fault> {
    let request = Request::new()?;
    let call = client.post(format!("{}/edge/renew", identity.server)).json(&json!({ "csr_pem": request.csr_pem }));
    let mut next = Identity::accept(&identity.server, &request, ask(call).await?)?;
    // Whoever answers here may be anybody who holds the line: keys and authorities come through the root document alone.
    next.jwks.clone_from(&identity.jwks);
    next.trust_bundle_pem.clone_from(&identity.trust_bundle_pem);
    if next.spiffe_id != identity.spiffe_id {
        return Err(Fault::new("identity-unusable", "identity", "renewal gave another node's id"));
    }
    next.listen.clone_from(&identity.listen);
    Ok(next)
}

async fn ask(call: reqwest::RequestBuilder) -> Result<Issued, Fault> {
    let answer = call.timeout(Duration::from_secs(30)).send().await.map_err(|e| crate::cloud::unreachable(&e))?;
    if !answer.status().is_success() {
        return Err(problem_of(answer).await);
    }
    let body = read_body(answer, MAX_ANSWER).await?;
    serde_json::from_slice(&body).map_err(|e| Fault::new("server-answer-invalid", "server", e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refused_attempt_leaves_no_folder() {
        let data = std::env::temp_dir().join(format!("pithead-enroll-{}", std::process::id()));
        let refused = enroll(&data, "https://127.0.0.1:9", "ABCD-EFGH-JKLM", "no pin", None).await.err().unwrap();
        assert_eq!(refused.code, "ca-pin-invalid");
        assert!(!data.exists());
        std::fs::create_dir(&data).unwrap();
        assert!(enroll(&data, "https://127.0.0.1:9", "ABCD-EFGH-JKLM", "no pin", None).await.is_err());
        assert!(data.exists(), "a folder that was there stays");
        std::fs::remove_dir(&data).unwrap();
    }

    #[test]
    fn pins() {
        assert!(pin_of(&format!("sha256:{}", "A".repeat(64))).is_ok());
        assert_eq!(pin_of("sha256:12").unwrap_err().code, "ca-pin-invalid");
        assert_eq!(pin_of(&"a".repeat(64)).unwrap_err().code, "ca-pin-invalid");
    }
}
