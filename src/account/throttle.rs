//! Guessing is slow: wrong passwords are counted for the account and for the address that they come from. Attempts on one account stand
//! in line, and those from one address pass a narrow gate, so that many at once get no further than one after another; right passwords
//! are never counted.

use chrono::TimeDelta;

use super::store;
use crate::base::app::App;
use crate::base::db::{Conn, dialect};
use crate::base::error::{Error, Result};
use crate::base::turns::Turn;

/// Time after which a count begins anew.
pub const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// Wrong passwords for one account in the window.
const ACCOUNT: i64 = 5;
/// Wrong passwords from one address in the window; a mine's people may share one.
const ADDRESS: i64 = 30;
/// Organisations signed up from one address in the window.
const SIGN_UPS: i64 = 20;

/// An attempt with a password that may be made now. While it lives, others on the account wait.
#[derive(Debug)]
pub struct Attempt {
    account: String,
    address: String,
    _turns: [Turn; 2],
}

/// Waits for the turn of an attempt with a password.
///
/// # Errors
/// `sign-in-throttled`: there were too many wrong passwords for this account or from this address.
pub async fn password(app: &App, email: &str, address: &str) -> Result<Attempt> {
    let (account, address) = (format!("account:{email}"), format!("address:{address}"));
    let turns = app.gates.wait(&account, &address).await?;
    let subjects = [(account.clone(), ACCOUNT), (address.clone(), ADDRESS)];
    let since = app.clock.now().minus(WINDOW);
    app.db
        .read(move |conn| {
            for (subject, limit) in &subjects {
                if store::attempts(conn, subject, since)? >= *limit {
                    return Err(throttled("sign-in-throttled"));
                }
            }
            Ok(())
        })
        .await?;
    Ok(Attempt { account, address, _turns: turns })
}

/// Counts an organisation that signs up.
///
/// # Errors
/// `sign-up-throttled`: there were too many from this address.
pub async fn sign_up(app: &App, address: &str) -> Result<()> {
    let (subject, now) = (format!("sign-up:{address}"), app.clock.now());
    app.db
        .write(move |conn| {
            // Count first: on PostgreSQL the lock on the counter's row makes others wait until this is decided.
            let n = dialect::count_attempt(conn, &subject, now, now.minus(WINDOW))?;
            if n > SIGN_UPS { Err(throttled("sign-up-throttled")) } else { Ok(()) }
        })
        .await
}

fn throttled(code: &'static str) -> Error {
    Error::rate_limited(code).arg("minutes", WINDOW.num_minutes()).retry_after(WINDOW)
}

impl Attempt {
    /// The password was wrong: counts it.
    pub async fn failed(self, app: &App) -> Result<()> {
        let now = app.clock.now();
        app.db
            .write(move |conn| {
                for subject in [&self.account, &self.address] {
                    dialect::count_attempt(conn, subject, now, now.minus(WINDOW))?;
                }
                Ok(())
            })
            .await
    }

    /// The password was right: forgets the wrong ones for the account.
    pub fn succeeded_in(&self, conn: &mut Conn) -> Result<()> {
        store::forget_attempts(conn, &self.account)?;
        Ok(())
    }
}
