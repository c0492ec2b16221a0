//! A release as people name it on the command line: `[https://host/]vendor/app:version`, or `@digest` instead of the version or after it.

use app_package::digest::Digest;
use reqwest::Url;

use super::client;
use crate::base::i18n::Lang;
use crate::registry::model::{RepositoryName, parse_tag};

/// A release on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The site.
    pub server: Url,
    /// Vendor slug.
    pub vendor: String,
    /// App slug.
    pub app: String,
    /// Tag, for a release its version.
    pub tag: Option<String>,
    /// Digest of the manifest; goes before the tag.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Reads a reference; `server` is that of `--server`, for one that names none.
    pub fn parse(text: &str, server: Option<&Url>, lang: Lang) -> anyhow::Result<Self> {
        let wrong = || anyhow::anyhow!(lang.format("cli-reference-wrong", &[("reference", text)]));
        let (server, place) = if text.starts_with("https://") || text.starts_with("http://") {
            let mut address = Url::parse(text).map_err(|_| wrong())?;
            let place = address.path().trim_start_matches('/').to_owned();
            anyhow::ensure!(address.username().is_empty() && address.password().is_none(), wrong());
            address.set_path("/");
            (client::site(&address, lang)?, place)
        } else {
            let server = server.ok_or_else(|| anyhow::anyhow!(lang.t("cli-server-needed")))?;
            (client::site(server, lang)?, text.to_owned())
        };
        let (place, digest) = match place.split_once('@') {
            Some((place, digest)) => (place.to_owned(), Some(Digest::parse(digest).map_err(|_| wrong())?)),
            None => (place, None),
        };
        let (name, tag) = match place.split_once(':') {
            Some((name, tag)) => (name, Some(parse_tag(tag).map_err(|_| wrong())?)),
            None => (place.as_str(), None),
        };
        RepositoryName::parse(name).map_err(|_| wrong())?;
        let (vendor, app) = name.split_once('/').filter(|(_, app)| !app.contains('/')).ok_or_else(wrong)?;
        anyhow::ensure!(tag.is_some() || digest.is_some(), wrong());
        // Nothing else can be held against the bytes that come.
        anyhow::ensure!(digest.as_ref().is_none_or(|d| d.algorithm() == "sha256"), lang.t("cli-digest-kind"));
        Ok(Self { server, vendor: vendor.to_owned(), app: app.to_owned(), tag, digest })
    }

    /// Name of the repository.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.vendor, self.app)
    }

    /// What the registry is asked for.
    pub fn wanted(&self) -> &str {
        self.digest.as_ref().map(Digest::as_str).or(self.tag.as_deref()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Reference> {
        Reference::parse(text, Some(&Url::parse("http://127.0.0.1:8080").unwrap()), Lang::En)
    }

    #[test]
    fn all_forms_are_read() {
        let digest = Digest::of(b"x");
        let plain = parse("acme/belt-watch:1.0.0-rc.1").unwrap();
        assert_eq!(
            (plain.repository().as_str(), plain.wanted(), plain.server.as_str()),
            ("acme/belt-watch", "1.0.0-rc.1", "http://127.0.0.1:8080/")
        );
        let by_digest = parse(&format!("acme/belt-watch@{digest}")).unwrap();
        assert_eq!((by_digest.wanted(), by_digest.tag.as_deref()), (digest.as_str(), None));
        let both = parse(&format!("https://market.example:8443/acme/belt-watch:1.0.0@{digest}")).unwrap();
        assert_eq!(
            (both.wanted(), both.tag.as_deref(), both.server.as_str()),
            (digest.as_str(), Some("1.0.0"), "https://market.example:8443/")
        );
    }

    #[test]
    fn what_names_no_release_is_refused() {
        for text in [
            "",
            "acme",
            "acme/belt",
            "acme/belt:",
            "acme/belt:a b",
            "acme/belt/more:1.0.0",
            "Acme/belt:1.0.0",
            "acme/../belt:1.0.0",
            "acme/belt@sha256:1",
            "https://market.example/acme/belt",
            "https://user@market.example/acme/belt:1.0.0",
            "https://market.example/acme/belt:1.0.0?x=1",
            "ftp://market.example/acme/belt:1.0.0",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("acme/belt@sha512:{}", "a".repeat(128))).unwrap_err().to_string().contains("sha256"));
        assert!(Reference::parse("acme/belt:1.0.0", None, Lang::En).unwrap_err().to_string().contains("--server"));
    }
}
