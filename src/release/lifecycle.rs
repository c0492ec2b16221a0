//! What becomes of a release after its publication: channels, deprecation.
//!
//! Invariant: after each change here the listing shows the highest published version of the best channel.

use serde::Deserialize;
use serde_json::json;

use super::model::{Channel, Deprecation, Event, MAX_DEPRECATION, Release, ReleaseState};
use super::{service, store};
use crate::audit;
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::Conn;
use crate::base::error::{Error, Faults, Result};

/// Moves a published release from the channel `beta` to `stable`: the same bytes for everybody.
///
/// # Errors
/// `release` (not there, not the vendor's); `release-state`; `release-prerelease`; `release-stable` where it is already.
pub async fn promote(app: &App, actor: &Actor, release_id: &str) -> Result<()> {
    let id = release_id.to_owned();
    let vendor = policy::require(actor, Action::PublishApps)?.organization_id.clone();
    audit::change(app, actor, move |c| {
        let now = c.now;
        let release = held(c, &id)?;
        if release.state != ReleaseState::Published {
            return Err(Error::conflict("release-state").arg("state", release.state));
        }
        if release.channel == Channel::Stable {
            return Err(Error::conflict("release-stable"));
        }
        if Channel::of(&release.manifest.version, Channel::Stable) != Channel::Stable {
            return Err(Error::conflict("release-prerelease"));
        }
        store::set_channel(c, &release.id, Channel::Stable, now)?;
        service::list_newest_in(c, &release.app_id)?;
        let detail = json!({"version": release.version, "digest": release.digest, "channel": Channel::Stable});
        c.audit("release.promoted", &release.id, &detail);
        c.poke(&vendor, service::topic(&id));
        c.poke(&vendor, "releases");
        Ok(())
    })
    .await
}

/// What a vendor says of a version that it no longer recommends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DeprecationForm {
    /// Message in Chinese.
    #[serde(default)]
    pub message_zh: String,
    /// Message in English.
    #[serde(default)]
    pub message_en: String,
    /// Version to go to; empty for none.
    #[serde(default)]
    pub successor: String,
}

impl DeprecationForm {
    /// # Errors
    /// On the field `message_zh`: `required` where both are empty; on either `too-long`.
    fn checked(&self) -> Result<Deprecation> {
        let mut faults = Faults::default();
        let zh = faults.text("message_zh", &self.message_zh, usize::from(self.message_en.trim().is_empty()), MAX_DEPRECATION);
        let en = faults.text("message_en", &self.message_en, 0, MAX_DEPRECATION);
        faults.check()?;
        let successor = self.successor.trim();
        Ok(Deprecation { message: app_package::text::Text { zh, en }, successor: (!successor.is_empty()).then(|| successor.to_owned()) })
    }
}

/// Takes a published release off the offer: it runs on where it runs, and its operators read why and what to take instead.
///
/// # Errors
/// `release` (not there, not the vendor's); `release-state`; on the field `successor`: `release-successor` where it is no other
/// published version of the app; those of the texts.
pub async fn deprecate(app: &App, actor: &Actor, release_id: &str, form: &DeprecationForm) -> Result<()> {
    let deprecation = form.checked()?;
    let id = release_id.to_owned();
    let vendor = policy::require(actor, Action::PublishApps)?.organization_id.clone();
    audit::change(app, actor, move |c| {
        let now = c.now;
        let release = held(c, &id)?;
        if let Some(successor) = &deprecation.successor {
            let found = store::find_version(c, &release.app_id, successor)?;
            if !found.is_some_and(|other| other.id != release.id && other.state == ReleaseState::Published) {
                return Err(Error::field("successor", "release-successor"));
            }
        }
        let detail = json!({
            "version": release.version, "digest": release.digest, "message": deprecation.message, "successor": deprecation.successor,
        });
        service::transition(c, &release, Event::Deprecated, now)?;
        store::set_deprecation(c, &release.id, deprecation.clone())?;
        service::list_newest_in(c, &release.app_id)?;
        c.audit("release.deprecated", &release.id, &detail);
        c.poke(&vendor, service::topic(&id));
        c.poke(&vendor, "releases");
        Ok(())
    })
    .await
}

/// What a vendor says of a release that it no longer recommends.
pub fn deprecation(conn: &mut Conn, release_id: &str) -> Result<Option<Deprecation>> {
    Ok(store::deprecation(conn, release_id)?)
}

/// Versions of an app that a vendor may name as successor of a release: the other published ones, newest first.
pub fn successors(conn: &mut Conn, release: &Release) -> Result<Vec<String>> {
    let versions = store::versions(conn, &release.app_id, &[ReleaseState::Published])?;
    Ok(versions.into_iter().filter(|(id, ..)| *id != release.id).map(|(_, version, _)| version).collect())
}

/// Holds the app of an own release, then reads the release.
fn held(c: &mut Change<'_>, release_id: &str) -> Result<Release> {
    let actor = c.actor;
    let seen = service::own(c, actor, release_id)?;
    service::hold_app(c, &seen.app_id)?;
    service::get(c, release_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::auth::Role;
    use crate::base::i18n::Lang;
    use crate::catalog;
    use crate::release::comparison;
    use crate::release::difference::Measure;
    use crate::site::vendor::console;
    use crate::testing::{self, each_backend};
    use inference::check::{CheckReport, Hardware, RunCard};
    use inference::measure::{Latency, Measured};

    #[test]
    fn a_deprecation_says_why_in_one_language_at_least() {
        let form = |zh: &str, en: &str, successor: &str| {
            DeprecationForm { message_zh: zh.into(), message_en: en.into(), successor: successor.into() }.checked()
        };
        assert_eq!(form("", " ", "").unwrap_err().fields[0].code, "required");
        assert_eq!(form(&"长".repeat(MAX_DEPRECATION + 1), "", "").unwrap_err().fields[0].code, "too-long");
        let said = form("", " use 2 ", " 2.0.0 ").unwrap();
        assert_eq!((said.message.get("zh-CN"), said.successor.as_deref()), ("use 2", Some("2.0.0")));
        assert_eq!(form("停用", "", "").unwrap().successor, None);
    }

    /// Uploads a version, has it submitted for a channel and approved; its release.
    async fn published(app: &App, vendor: &Actor, moderator: &Actor, version: &str, channel: Channel) -> Release {
        let (id, _) = crate::testing::shop::submitted(app, vendor, version, channel).await;
        let own = app.clone();
        audit::change(app, moderator, move |c| {
            service::approve_in(c, &own, &id)?;
            service::get(c, &id)
        })
        .await
        .unwrap()
    }

    /// The version that the listing shows.
    async fn shown(app: &App, app_id: &str) -> String {
        let app_id = app_id.to_owned();
        app.db
            .read(move |conn| {
                let row = catalog::service::get_app(conn, &app_id)?;
                Ok(service::get(conn, &row.release_id.unwrap_or_default())?.version)
            })
            .await
            .unwrap()
    }

    fn to(successor: &str) -> DeprecationForm {
        DeprecationForm { message_en: "Take the newer one.".into(), successor: successor.into(), ..DeprecationForm::default() }
    }

    #[tokio::test]
    async fn a_listing_shows_the_highest_stable_version() {
        each_backend(|app| async move {
            let acme = testing::vendor(&app, "acme").await;
            let moderator = testing::platform(&app, Role::Moderator).await;
            let first = published(&app, &acme, &moderator, "1.0.0", Channel::Stable).await;
            assert_eq!(shown(&app, &first.app_id).await, "1.0.0");
            // A correction of an old version is no step back, a beta no step on.
            let second = published(&app, &acme, &moderator, "2.0.0", Channel::Beta).await;
            let third = published(&app, &acme, &moderator, "1.1.0", Channel::Stable).await;
            assert_eq!(shown(&app, &first.app_id).await, "1.1.0");
            published(&app, &acme, &moderator, "1.0.5", Channel::Stable).await;
            assert_eq!(shown(&app, &first.app_id).await, "1.1.0");
            // A pre-release is beta whatever is asked, and stays so.
            let early = published(&app, &acme, &moderator, "3.0.0-rc.1", Channel::Stable).await;
            assert_eq!(early.channel, Channel::Beta);
            assert_eq!(promote(&app, &acme, &early.id).await.unwrap_err().code, "release-prerelease");
            let other = testing::vendor(&app, "other").await;
            assert_eq!(promote(&app, &other, &second.id).await.unwrap_err().code, "release");
            promote(&app, &acme, &second.id).await.unwrap();
            assert_eq!(promote(&app, &acme, &second.id).await.unwrap_err().code, "release-stable");
            assert_eq!(shown(&app, &first.app_id).await, "2.0.0");
            assert_eq!(third.channel, Channel::Stable);
        })
        .await;
    }

    #[tokio::test]
    async fn a_deprecated_version_names_its_successor() {
        each_backend(|app| async move {
            let acme = testing::vendor(&app, "acme").await;
            let moderator = testing::platform(&app, Role::Moderator).await;
            let first = published(&app, &acme, &moderator, "1.0.0", Channel::Stable).await;
            let second = published(&app, &acme, &moderator, "2.0.0", Channel::Stable).await;
            for wrong in ["2.0.0", "9.9.9", "nonsense"] {
                let refused = deprecate(&app, &acme, &second.id, &to(wrong)).await.unwrap_err();
                assert_eq!(refused.fields[0].code, "release-successor", "{wrong}");
            }
            let other = testing::vendor(&app, "other").await;
            assert_eq!(deprecate(&app, &other, &second.id, &to("1.0.0")).await.unwrap_err().code, "release");
            deprecate(&app, &acme, &second.id, &to("1.0.0")).await.unwrap();
            assert_eq!(shown(&app, &first.app_id).await, "1.0.0");
            assert_eq!(deprecate(&app, &acme, &second.id, &to("1.0.0")).await.unwrap_err().code, "release-state");
            let id = second.id.clone();
            let said = app.db.read(move |conn| deprecation(conn, &id)).await.unwrap().unwrap();
            assert_eq!((said.message.get("zh"), said.successor.as_deref()), ("Take the newer one.", Some("1.0.0")));
            // The last one may go too; the listing stays, for those who have the app.
            deprecate(&app, &acme, &first.id, &to("")).await.unwrap();
            assert_eq!(shown(&app, &first.app_id).await, "1.0.0");
            let app_id = first.app_id.clone();
            assert!(app.db.read(move |conn| service::latest_published(conn, &app_id)).await.unwrap().is_none());
        })
        .await;
    }

    async fn measured(app: &App, release: &Release, median: f64) {
        let measured =
            Measured { runs: 300, rounds: 3, cpu_ms: median, spread: 0.01, spread_p95: 0.01, alone: true, steady: true, per_frame: false };
        let card = RunCard {
            engine: "onnxruntime".into(),
            engine_version: "1.22.0".into(),
            hardware: Hardware { cpu: "x".into(), cores: 2, architecture: "amd64".into() },
            accuracy: None,
            golden_total: 1,
            latency_ms: Latency { median, p95: median, p99: median, measured: Some(measured) },
            load_ms: 1.0,
            peak_memory_bytes: 1,
            model_bytes: 1,
            throughput: None,
            structure: None,
            odd_inputs: Vec::new(),
            own_steps: Vec::new(),
            providers: Vec::new(),
            input: "1x8".into(),
        };
        let report = CheckReport { passed: true, run_card: Some(card), ..CheckReport::default() };
        let (release, now) = (release.clone(), app.clock.now());
        app.db.write(move |conn| Ok(store::insert_report(conn, &release, report, now)?)).await.unwrap();
    }

    #[tokio::test]
    async fn a_release_is_compared_with_the_highest_lower_version() {
        each_backend(|app| async move {
            let acme = testing::vendor(&app, "acme").await;
            let moderator = testing::platform(&app, Role::Moderator).await;
            let first = published(&app, &acme, &moderator, "1.0.0", Channel::Stable).await;
            let second = published(&app, &acme, &moderator, "1.2.0", Channel::Stable).await;
            let third = published(&app, &acme, &moderator, "1.1.0", Channel::Stable).await;
            for (release, median) in [(&first, 10.0), (&third, 11.0), (&second, 20.0)] {
                measured(&app, release, median).await;
            }
            let compare = async |release: &Release, with: Option<&str>| {
                let (release, with) = (release.clone(), with.map(ToOwned::to_owned));
                app.db.read(move |conn| comparison::compared(conn, &release, with.as_deref())).await
            };
            assert!(compare(&first, None).await.unwrap().is_none());
            let (from, difference) = compare(&second, None).await.unwrap().unwrap();
            // Twice the time, but of the same model and samples: it was the hour.
            assert_eq!((from.as_str(), difference.flags.len()), ("1.1.0", 0));
            assert!(difference.figures.iter().all(|f| f.noise || f.kind == Measure::Model), "{:?}", difference.figures);
            // Only app.yaml and what is made of it differ.
            assert_eq!(difference.files.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["app.yaml"]);
            assert_eq!((difference.keys_total, difference.tensors.len()), (0, 0));
            let (from, difference) = compare(&third, Some("1.0.0")).await.unwrap().unwrap();
            assert_eq!((from.as_str(), difference.flags.len()), ("1.0.0", 0));
            assert!(
                difference.figures.iter().any(|f| f.kind == Measure::Median && f.change().is_some_and(|part| (part - 0.1).abs() < 1e-9))
            );
            assert_eq!(compare(&third, Some("7.0.0")).await.unwrap_err().code, "release");
            // The developer's page offers the others, newest upload first.
            let detail = console::release_detail(&app, &acme, Lang::En, "coke-quality", "1.2.0").await.unwrap();
            let beside = console::comparison(&app, &acme, &detail, None).await.unwrap();
            assert_eq!(beside.others, ["1.1.0", "1.0.0"]);
            assert_eq!(beside.successors.unwrap(), ["1.1.0", "1.0.0"]);
        })
        .await;
    }
}
