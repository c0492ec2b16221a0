//! Removing old records. A chain is cut where a seal holds its head: the number and hash of the newest record that is removed stay as the
//! chain's base, so that the rest still verifies, from the base and against the seals, which are kept for ever.
//!
//! Invariant: a base is a leaf of a seal that is at least [`MIN_LOG_DAYS`] older than another one; the database takes no base that is no leaf,
//! and [`super::verify`] looks at both.
//!
//! [`MIN_LOG_DAYS`]: crate::base::config::MIN_LOG_DAYS

use chrono::TimeDelta;
use serde_json::json;

use super::model::{ACCESS_CHAIN, Leaf};
use super::{change, store};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::{Result, exactly_one};

/// Records removed in one transaction, but for those between two seals, which go together.
const BATCH: i64 = 2000;

/// Removes the records that are older than the settings want; gives how many.
pub async fn prune(app: &App) -> Result<i64> {
    let settings = &app.settings.audit;
    let mut removed = prune_chain(app, ACCESS_CHAIN, settings.keep_access_days).await?;
    if settings.keep_days > 0 {
        let chains = app.db.read(|conn| Ok(store::chains(conn)?)).await?;
        for chain in chains.iter().filter(|chain| *chain != ACCESS_CHAIN) {
            removed += prune_chain(app, chain, settings.keep_days).await?;
        }
    }
    Ok(removed)
}

async fn prune_chain(app: &App, chain: &str, days: i64) -> Result<i64> {
    let mut removed = 0;
    loop {
        let name = chain.to_owned();
        let n = change(app, &Actor::System, move |c| {
            let base = store::base(c, &name)?.0;
            // By the time of the newest seal: a clock that was ahead for a moment has sealed nothing then.
            let now = store::last_seal(c)?.map_or(c.now, |newest| newest.statement.at.min(c.now));
            let before = now.minus(TimeDelta::days(days));
            let Some(Leaf { sequence, hash, .. }) = store::cut_of(c, &name, base, BATCH, before)? else { return Ok(0) };
            // None: another process has moved the base meanwhile. Only what is behind the base may go.
            exactly_one(store::set_base(c, &name, base, sequence, &hash)?, "database-busy")?;
            store::delete_records(c, &name, sequence)?;
            c.audit("audit.pruned", &name, &json!({"first": base + 1, "last": sequence, "hash": hash}));
            Ok(sequence - base)
        })
        .await?;
        if n == 0 {
            return Ok(removed);
        }
        removed += n;
    }
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;

    use super::*;
    use crate::account::tokens;
    use crate::audit::model::ChainVerdict;
    use crate::audit::{seal, service::verify};
    use crate::base::db::schema::{audit_heads as heads, audit_records as records};
    use crate::testing::{self, each_backend_with};

    #[tokio::test]
    async fn what_is_left_of_a_pruned_chain_still_verifies() {
        let keep = |settings: &mut crate::base::config::Settings| settings.audit.keep_days = 180;
        each_backend_with(keep, |app| async move {
            let owner = testing::vendor(&app, "acme").await;
            let chain = owner.organization_id().unwrap().to_owned();
            for _ in 0..3 {
                tokens::create(&app, &owner, "ci", &["read"], 10).await.unwrap();
                app.clock.advance(TimeDelta::seconds(10));
                seal::seal(&app).await.unwrap();
            }
            app.clock.advance(TimeDelta::days(179));
            tokens::create(&app, &owner, "new", &["read"], 10).await.unwrap();
            seal::seal(&app).await.unwrap();
            assert_eq!(prune(&app).await.unwrap(), 0, "nothing is old enough");
            app.clock.advance(TimeDelta::days(2));
            assert_eq!(prune(&app).await.unwrap(), 0, "nothing has been sealed since");
            tokens::create(&app, &owner, "newer", &["read"], 10).await.unwrap();
            seal::seal(&app).await.unwrap();
            assert_eq!(prune(&app).await.unwrap(), 4);
            assert_eq!(prune(&app).await.unwrap(), 0);
            let of = chain.clone();
            let left: Vec<i64> = app
                .db
                .read(move |conn| {
                    Ok(records::table.filter(records::chain.eq(of)).order(records::sequence).select(records::sequence).load(conn)?)
                })
                .await
                .unwrap();
            assert_eq!(left, [5, 6]);
            // Two records of the vendor and the one of the removal, in two chains.
            assert_eq!(verify(&app).await.unwrap(), ChainVerdict::Intact { records: 3, chains: 2, seals: 5, signed: 5, noted: false });
            tokens::create(&app, &owner, "after", &["read"], 10).await.unwrap();
            testing::assert_intact(&app).await;

            // A base that is none of the seals' leaves shows, and so does a record that was cut off behind it.
            testing::unguarded(&app).await;
            let of = chain.clone();
            let forge = async |base: i64, hash: &str| {
                let (of, hash) = (of.clone(), hash.to_owned());
                app.db
                    .write(move |conn| {
                        diesel::delete(records::table.filter(records::chain.eq(&of).and(records::sequence.le(base)))).execute(conn)?;
                        Ok(diesel::update(heads::table.find(&of))
                            .set((heads::base_sequence.eq(base), heads::base_hash.eq(hash)))
                            .execute(conn)?)
                    })
                    .await
                    .unwrap();
            };
            // A head that a seal holds, but a young one.
            let of = chain.clone();
            let hash: String =
                app.db.read(move |conn| Ok(records::table.find((of, 5i64)).select(records::hash).first(conn)?)).await.unwrap();
            for (base, hash) in [(5, hash.as_str()), (5, "00"), (6, "00")] {
                forge(base, hash).await;
                let told = verify(&app).await.unwrap();
                assert_eq!(told, ChainVerdict::Broken { chain: chain.clone(), sequence: base, fault: "base" }, "{hash}");
            }
        })
        .await;
    }
}
