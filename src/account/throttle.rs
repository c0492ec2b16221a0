//! Guessing is slow. An attempt is counted before it is looked at, in one transaction with the question whether it may be made, so that
//! many at once get no further than one after another. What succeeded is taken off the count again.

use chrono::TimeDelta;

use super::store;
use crate::app::App;
use crate::db::{Conn, dialect};
use crate::error::{Error, Result};

/// Counts begin anew after so long.
pub const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// Wrong passwords for one account in the window.
const ACCOUNT: i64 = 5;
/// Wrong passwords from one address in the window; a mine's people may share one.
const ADDRESS: i64 = 30;
/// Organisations signed up from one address in the window.
const SIGN_UPS: i64 = 20;

/// Attempts with a password that have been counted.
#[derive(Debug)]
pub struct Attempt {
    account: String,
    address: String,
}

/// Counts an attempt to prove who one is.
///
/// # Errors
/// `sign-in-throttled`: there were too many for this account or from this address.
pub async fn password(app: &App, email: &str, address: &str) -> Result<Attempt> {
    let attempt = Attempt { account: format!("account:{email}"), address: format!("address:{address}") };
    let subjects = [(attempt.account.clone(), ACCOUNT), (attempt.address.clone(), ADDRESS)];
    count(app, subjects.to_vec(), "sign-in-throttled").await?;
    Ok(attempt)
}

/// Counts an organisation that signs up.
///
/// # Errors
/// `sign-up-throttled`: there were too many from this address.
pub async fn sign_up(app: &App, address: &str) -> Result<()> {
    count(app, vec![(format!("sign-up:{address}"), SIGN_UPS)], "sign-up-throttled").await
}

async fn count(app: &App, subjects: Vec<(String, i64)>, code: &'static str) -> Result<()> {
    let now = app.clock.now();
    app.db
        .write(move |conn| {
            for (subject, limit) in &subjects {
                // Counted first: on PostgreSQL the row's lock makes others wait until this is decided.
                if dialect::count_attempt(conn, subject, now, now.minus(WINDOW))? > *limit {
                    return Err(Error::rate_limited(code).arg("minutes", WINDOW.num_minutes()));
                }
            }
            Ok(())
        })
        .await
}

impl Attempt {
    /// The password was right: the account's count is forgotten, the address's is one less.
    pub fn succeeded_in(&self, conn: &mut Conn) -> Result<()> {
        store::forget_attempts(conn, &self.account)?;
        store::forgive_attempt(conn, &self.address)?;
        Ok(())
    }
}
