//! Scenarios that people follow because there is no app for them yet. Who follows one gets a message of its first app.
//!
//! Invariants: a scenario that has a listed app is followed by nobody anew; who was told of the app follows no more; a person follows
//! [`MAX_FOLLOWED`] at most.

use serde_json::json;

use super::model::Scenario;
use super::store;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::{Actor, Person};
use crate::base::db::Conn;
use crate::base::db::dialect::{self, Row};
use crate::base::error::{Error, Result};
use crate::base::i18n::Lang;
use crate::base::jobs::Job;
use crate::base::notify::{Notice, NoticeKind};

/// Most scenarios that a person follows.
pub const MAX_FOLLOWED: i64 = 20;
/// People of one run of the job.
const PORTION: i64 = 50;

/// Has the person told of the first app of a scenario, in the language given. To follow twice does no harm.
///
/// # Errors
/// `scenario`; `scenario-served` where there is an app already; `too-many-followed`.
pub async fn follow(app: &App, actor: &Actor, slug: String, lang: Lang) -> Result<()> {
    let user_id = person(actor)?.user_id.clone();
    audit::change(app, actor, move |c| {
        let now = c.now;
        dialect::hold(c, Row::User(&user_id))?;
        // Who publishes holds the scenario too: one of the two sees the other.
        dialect::hold(c, Row::Scenario(&slug))?;
        let followed = store::followed(c, &user_id)?;
        if followed.contains(&slug) {
            return Ok(());
        }
        let scenario = store::scenario(c, &slug)?.ok_or_else(|| Error::not_found("scenario"))?;
        if store::first_of(c, &scenario.slug)?.is_some() {
            return Err(Error::conflict("scenario-served"));
        }
        if i64::try_from(followed.len()).unwrap_or(i64::MAX) >= MAX_FOLLOWED {
            return Err(Error::conflict("too-many-followed").arg("max", MAX_FOLLOWED));
        }
        store::insert_follow(c, &user_id, &slug, lang.tag(), now)?;
        c.audit("scenario.followed", &slug, &json!({}));
        Ok(())
    })
    .await
}

/// Ends that. What is not followed is left as it is.
pub async fn unfollow(app: &App, actor: &Actor, slug: String) -> Result<()> {
    let user_id = person(actor)?.user_id.clone();
    audit::change(app, actor, move |c| {
        if store::delete_follow(c, &user_id, &slug)? > 0 {
            c.audit("scenario.unfollowed", &slug, &json!({}));
        }
        Ok(())
    })
    .await
}

/// Slugs of the scenarios that whoever asks follows: none where nobody is signed in.
pub fn followed(conn: &mut Conn, actor: &Actor) -> Result<Vec<String>> {
    match person(actor) {
        Ok(person) => Ok(store::followed(conn, &person.user_id)?),
        Err(_) => Ok(Vec::new()),
    }
}

/// The scenarios that a person follows, in the order of the taxonomy.
pub async fn list(app: &App, actor: &Actor) -> Result<Vec<Scenario>> {
    let user_id = person(actor)?.user_id.clone();
    app.db
        .read(move |conn| {
            let followed = store::followed(conn, &user_id)?;
            if followed.is_empty() {
                return Ok(Vec::new());
            }
            Ok(store::scenarios(conn)?.into_iter().filter(|scenario| followed.contains(&scenario.slug)).collect())
        })
        .await
}

/// Whoever is signed in, whatever their role; no token follows for them.
fn person(actor: &Actor) -> Result<&Person> {
    actor.person_themselves()
}

/// Has those told who follow the scenario of an app that was just listed. Called in a transaction that has changed the app's row.
pub(super) fn served(c: &mut Change<'_>, scenario: &str) -> Result<()> {
    dialect::hold(c, Row::Scenario(scenario))?;
    if store::followers(c, scenario, 1)?.is_empty() {
        return Ok(());
    }
    c.enqueue(&Job::TellFollowers { scenario: scenario.to_owned() })
}

/// Enqueues notices to the next people who follow a scenario, and itself for the others. Where its app is gone again they go on following.
pub async fn tell(app: &App, scenario: &str) -> Result<()> {
    let slug = scenario.to_owned();
    audit::change(app, &Actor::System, move |c| {
        dialect::hold(c, Row::Scenario(&slug))?;
        let (Some(scenario), Some((vendor, name))) = (store::scenario(c, &slug)?, store::first_of(c, &slug)?) else { return Ok(()) };
        let followers = store::followers(c, &slug, PORTION)?;
        for (user_id, email, language) in &followers {
            store::delete_follow(c, user_id, &slug)?;
            // A person who was disabled is told nothing.
            let Some(email) = email else { continue };
            let lang = Lang::from_tag(language).unwrap_or(Lang::Zh);
            let notice = Notice::new(NoticeKind::ScenarioServed, lang, user_id, email).link(format!("/apps/{vendor}/{name}"));
            let title = lang.pick(&scenario.name.zh, &scenario.name.en);
            c.enqueue(&notice.arg("scenario", title).arg("app", format!("{vendor}/{name}")).job())?;
        }
        if i64::try_from(followers.len()).unwrap_or(i64::MAX) == PORTION {
            c.enqueue(&Job::TellFollowers { scenario: slug.clone() })?;
        }
        Ok(())
    })
    .await
}
