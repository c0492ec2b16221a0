//! What is over and of no use any more: sessions, invitations and tokens that ended long ago, one-time links, counts of attempts whose window
//! is over. The audit log keeps what was done with them.

use chrono::TimeDelta;

use super::{store, throttle};
use crate::base::app::App;
use crate::base::error::Result;

/// How long what is over is kept: the team and the person see what ended.
const KEEP: TimeDelta = TimeDelta::days(90);
/// Browser and address of a session that is over are known until then, or until the person has a new password.
const KEEP_SESSIONS: TimeDelta = TimeDelta::days(throttle::KNOWN_DAYS);
/// How long a one-time link is kept: it is good for two days at most.
const KEEP_LINKS: TimeDelta = TimeDelta::days(7);
/// Rows of a table deleted in one transaction.
const BATCH: i64 = 500;

/// Deletes what is over. Gives how many rows went.
pub async fn prune(app: &App) -> Result<usize> {
    let now = app.clock.now();
    let (before, unknown, window) = (now.minus(KEEP), now.minus(KEEP_SESSIONS), now.minus(throttle::ACCOUNT_WINDOW));
    let links = now.minus(KEEP_LINKS);
    let mut deleted = 0;
    loop {
        let gone = app
            .db
            .write(move |conn| {
                Ok(store::delete_old_sessions(conn, unknown, BATCH)?
                    + store::delete_old_invitations(conn, before, BATCH)?
                    + store::delete_old_tokens(conn, before, BATCH)?
                    + store::delete_old_links(conn, links, BATCH)?
                    + store::delete_old_attempts(conn, window, BATCH)?)
            })
            .await?;
        deleted += gone;
        if gone == 0 {
            return Ok(deleted);
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;

    use super::*;
    use crate::account::{passwords, team, tokens};
    use crate::base::db::schema::{api_tokens, invitations, one_time_links, sessions, throttles};
    use crate::testing::{self, each_backend};

    #[tokio::test]
    async fn what_is_over_goes_and_what_counts_stays() {
        each_backend(|app| async move {
            let acme = testing::vendor(&app, "acme").await;
            let left = async || {
                app.db
                    .read(|conn| {
                        let rows: [i64; 5] = [
                            sessions::table.count().get_result(conn)?,
                            invitations::table.count().get_result(conn)?,
                            api_tokens::table.count().get_result(conn)?,
                            throttles::table.count().get_result(conn)?,
                            one_time_links::table.count().get_result(conn)?,
                        ];
                        Ok(rows)
                    })
                    .await
                    .unwrap()
            };
            let user_id = acme.person().unwrap().user_id.clone();
            let organization_id = acme.organization_id().unwrap().to_owned();
            let now = app.clock.now();
            app.db
                .write(move |conn| {
                    for (n, days) in [1, 200].into_iter().enumerate() {
                        let session = crate::account::model::Session {
                            token_hash: format!("hash {n}"),
                            user_id: user_id.clone(),
                            organization_id: organization_id.clone(),
                            csrf_token: "x".into(),
                            address: String::new(),
                            user_agent: String::new(),
                            created_at: now,
                            seen_at: now,
                            expires_at: now.plus(TimeDelta::days(days)),
                            revoked_at: None,
                            device_hash: None,
                        };
                        store::insert_session(conn, &session)?;
                    }
                    throttle::count_in(conn, "account:x@y.example", throttle::WINDOW, now)?;
                    Ok(())
                })
                .await
                .unwrap();
            team::invite(&app, &acme, "colleague@acme.example", "member", "10.0.0.1").await.unwrap();
            tokens::create(&app, &acme, "short", &["publish"], 1).await.unwrap();
            tokens::create(&app, &acme, "long", &["publish"], 300).await.unwrap();
            passwords::issue_reset_by_address(&app, "owner@acme.example").await.unwrap();
            assert_eq!((prune(&app).await.unwrap(), left().await), (0, [2, 1, 2, 1, 1]));
            app.clock.advance(throttle::ACCOUNT_WINDOW + TimeDelta::seconds(1));
            assert_eq!((prune(&app).await.unwrap(), left().await), (1, [2, 1, 2, 0, 1]));
            app.clock.advance(TimeDelta::days(6));
            assert_eq!((prune(&app).await.unwrap(), left().await), (1, [2, 1, 2, 0, 0]));
            app.clock.advance(TimeDelta::days(92));
            assert_eq!((prune(&app).await.unwrap(), left().await), (2, [2, 0, 1, 0, 0]));
            app.clock.advance(TimeDelta::days(90));
            assert_eq!((prune(&app).await.unwrap(), left().await), (1, [1, 0, 1, 0, 0]));
        })
        .await;
    }

    #[tokio::test]
    async fn tokens_in_force_are_counted() {
        each_backend(|app| async move {
            let acme = testing::vendor(&app, "acme").await;
            for n in 0..50 {
                tokens::create(&app, &acme, &format!("token {n}"), &["publish"], 1).await.unwrap();
            }
            assert_eq!(tokens::create(&app, &acme, "one more", &["publish"], 1).await.unwrap_err().code, "too-many-tokens");
            app.clock.advance(TimeDelta::days(2));
            tokens::create(&app, &acme, "one more", &["publish"], 1).await.unwrap();
        })
        .await;
    }
}
