//! Checking all chains and seals, a thousand rows at a time.

use app_package::dsse::DsseError;
use app_package::keys::KeySet;
use chrono::TimeDelta;

use super::model::{ChainVerdict, GENESIS, Record, fault};
use super::note::Note;
use super::seal::{PAGE, Statement};
use super::{seal, store};
use crate::base::config::MIN_LOG_DAYS;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;

/// What is known of the log outside the database. Read before the database, which goes on meanwhile.
#[derive(Debug)]
pub struct Known {
    /// Keys that sign seals.
    pub keys: KeySet,
    pub note: Note,
}

/// A number and what is wrong there, in place of a result.
type Found<T> = std::result::Result<T, (i64, &'static str)>;

/// Checks each chain from its base or first record to its head, each seal, and that each chain still holds what seals say of it.
pub fn verify(conn: &mut Conn, known: &Known) -> Result<ChainVerdict> {
    // Those that are added meanwhile may be signed by a key that was not known at the beginning.
    let newest = store::last_seal(conn)?.map_or(0, |seal| seal.statement.number);
    // Records that are younger are not removed. A day less, for the newest seal may have come after this was read.
    let removed_before = store::latest_seal_at(conn)?.map(|at| at.minus(TimeDelta::days(MIN_LOG_DAYS - 1)));
    let mut records = 0;
    let chains = store::chains(conn)?;
    for chain in &chains {
        let base = store::base(conn, chain)?;
        let mut found = verify_chain(conn, chain, &base, removed_before)?;
        let now = store::base(conn, chain)?;
        if now != base {
            // Old records were removed meanwhile.
            found = verify_chain(conn, chain, &now, removed_before)?;
        }
        match found {
            Ok(n) => records += n,
            Err((sequence, fault)) => return Ok(ChainVerdict::Broken { chain: chain.clone(), sequence, fault }),
        }
    }
    Ok(match verify_seals(conn, known, newest)? {
        Ok(signed) => ChainVerdict::Intact {
            records,
            chains: i64::try_from(chains.len()).unwrap_or(i64::MAX),
            seals: newest,
            signed,
            noted: known.note != Note::Absent,
        },
        Err((sequence, fault)) => ChainVerdict::Broken { chain: String::new(), sequence, fault },
    })
}

/// How many seals up to the newest are signed by a key of the log, or the first fault.
///
/// Each seal is covered by those after it, so one without a signature is taken where none has come before, and one by a key that is trusted no
/// more where a signature that counts, or the note, comes after it.
fn verify_seals(conn: &mut Conn, known: &Known, newest: i64) -> Result<Found<i64>> {
    let noted = match &known.note {
        Note::Absent => None,
        Note::Seal(noted) => Some(noted),
        Note::Damaged => return Ok(Err((0, "note"))),
    };
    let (mut last, mut previous, mut signed) = (0, GENESIS.to_owned(), 0);
    // The first seal with a signature, and the first by an unknown key that nothing covers yet.
    let (mut first, mut uncovered) = (None, None);
    while last < newest {
        let page = store::seals_after(conn, last, PAGE.min(newest - last))?;
        if page.is_empty() {
            return Ok(Err((last + 1, "seal")));
        }
        for stored in page {
            let mut leaves = store::leaves_of(conn, stored.statement.number)?;
            let expected = Statement { number: last + 1, root: seal::root(&mut leaves), ..stored.statement.clone() };
            if leaves.is_empty() || expected != stored.statement {
                return Ok(Err((last + 1, "seal")));
            }
            last += 1;
            let statement = if stored.is_signed() {
                let first = *first.get_or_insert(last);
                match stored.judge(&known.keys) {
                    Ok(()) if stored.statement.signed_from != first => return Ok(Err((stored.statement.signed_from, "unsigned"))),
                    Ok(()) => {
                        signed += 1;
                        uncovered = None;
                    }
                    Err(DsseError::UnknownKey) => uncovered = uncovered.or(Some(last)),
                    Err(_) => return Ok(Err((last, "signature"))),
                }
                if stored.statement.previous != previous {
                    return Ok(Err((last, "seal")));
                }
                stored.statement
            } else {
                if first.is_some() || noted.is_some_and(|noted| noted.signed_from <= last) {
                    return Ok(Err((last, "unsigned")));
                }
                stored.statement.unsigned(previous)
            };
            if let Some(noted) = noted.filter(|noted| noted.number == last) {
                if statement != *noted {
                    return Ok(Err((last, "noted")));
                }
                uncovered = None;
            }
            previous = statement.hash();
        }
    }
    Ok(match (uncovered, noted) {
        (_, Some(noted)) if noted.number > last => Err((noted.number, "noted")),
        (Some(number), _) => Err((number, "key")),
        (None, _) => Ok(signed),
    })
}

/// The number of records behind the base, or the first fault.
fn verify_chain(conn: &mut Conn, chain: &str, base: &(i64, String), removed_before: Option<Timestamp>) -> Result<Found<i64>> {
    let (base, base_hash) = base;
    if *base > 0 {
        let leaf = store::leaf_of(conn, chain, *base)?.filter(|leaf| leaf.hash == *base_hash);
        let held_by = leaf.map(|leaf| store::seal_of(conn, leaf.number)).transpose()?.flatten();
        if held_by.is_none_or(|seal| Some(seal.statement.at) > removed_before) {
            return Ok(Err((*base, "base")));
        }
    }
    // Read the head before the records: those that are appended meanwhile come after it.
    let (head, head_hash) = store::head(conn, chain)?.unwrap_or_default();
    if *base > 0 && *base == head && *base_hash != head_hash {
        return Ok(Err((head, "head")));
    }
    let mut sealed = store::leaves_of_chain(conn, chain, *base, PAGE)?.into_iter().peekable();
    let mut previous = (*base > 0).then(|| (base_hash.clone(), *base));
    loop {
        let last = previous.as_ref().map_or(0, |(_, n)| *n);
        let page = store::list_after(conn, chain, last, PAGE)?;
        if page.is_empty() {
            break;
        }
        for record in page {
            if let Some(found) = fault(previous.as_ref().map(|(h, n)| (h.as_str(), *n)), &record) {
                return Ok(Err(found));
            }
            if record.sequence == head && record.hash != head_hash {
                return Ok(Err((head, "head")));
            }
            if let Some(leaf) = sealed.next_if(|leaf| leaf.sequence == record.sequence) {
                if leaf.hash != record.hash {
                    return Ok(Err((record.sequence, "sealed")));
                }
                if sealed.peek().is_none() {
                    sealed = store::leaves_of_chain(conn, chain, record.sequence, PAGE)?.into_iter().peekable();
                }
            }
            let Record { hash, sequence, .. } = record;
            previous = Some((hash, sequence));
        }
    }
    let last = previous.map_or(0, |(_, n)| n);
    if let Some(leaf) = sealed.next() {
        return Ok(Err((leaf.sequence.min(last + 1), "sealed")));
    }
    // Records beyond the head are as wrong as missing ones; the head may have moved on since it was read.
    let now = store::head(conn, chain)?.map_or(0, |(n, _)| n);
    Ok(if last < head || last > now { Err((head.min(last) + 1, "head")) } else { Ok(last - base) })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use diesel::prelude::*;

    use super::*;
    use crate::account::tokens;
    use crate::audit::service;
    use crate::base::app::App;
    use crate::base::db::schema::{audit_heads as heads, audit_records as records, audit_seals as seals};
    use crate::testing::{self, each_backend, race};

    async fn verdict(app: &App) -> ChainVerdict {
        service::verify(app).await.unwrap()
    }

    /// Does what a thief of the database could do.
    async fn tamper(app: &App, f: impl FnOnce(&mut Conn) -> QueryResult<usize> + Send + 'static) {
        testing::unguarded(app).await;
        app.db.write(move |conn| Ok(f(conn)?)).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_cut_off_a_sealed_chain_shows() {
        each_backend(|app| async move {
            let owner = testing::vendor(&app, "acme").await;
            let chain = owner.organization_id().unwrap().to_owned();
            let other = testing::vendor(&app, "other").await.organization_id().unwrap().to_owned();
            assert_eq!(seal::seal(&app).await.unwrap(), Some(1));
            assert_eq!(seal::seal(&app).await.unwrap(), None, "not so soon again");
            app.clock.advance(TimeDelta::seconds(10));
            assert_eq!(seal::seal(&app).await.unwrap(), None, "nothing has moved");
            tokens::create(&app, &owner, "ci", &["read"], 10).await.unwrap();
            tokens::create(&app, &owner, "ci", &["read"], 10).await.unwrap();
            assert_eq!(seal::seal(&app).await.unwrap(), Some(2));
            assert_eq!(verdict(&app).await, ChainVerdict::Intact { records: 4, chains: 2, seals: 2, signed: 2, noted: false });

            // The newest record is removed; then the head is set back too.
            let of = chain.clone();
            tamper(&app, move |conn| diesel::delete(records::table.find((of, 3i64))).execute(conn)).await;
            assert_eq!(verdict(&app).await, ChainVerdict::Broken { chain: chain.clone(), sequence: 3, fault: "sealed" });
            let of = chain.clone();
            tamper(&app, move |conn| {
                let last: String = records::table.find((&of, 2i64)).select(records::hash).first(conn)?;
                diesel::update(heads::table.find(&of)).set((heads::sequence.eq(2i64), heads::hash.eq(last))).execute(conn)
            })
            .await;
            assert_eq!(verdict(&app).await, ChainVerdict::Broken { chain: chain.clone(), sequence: 3, fault: "sealed" });
            // Another one goes into its place, and fits the one before.
            tokens::create(&app, &owner, "other", &["read"], 10).await.unwrap();
            let told = verdict(&app).await;
            assert_eq!(told, ChainVerdict::Broken { chain: chain.clone(), sequence: 3, fault: "sealed" });
            // A whole chain is gone.
            let (of, gone) = (chain.clone(), other.clone());
            tamper(&app, move |conn| {
                diesel::delete(records::table.filter(records::chain.eq_any([&of, &gone]))).execute(conn)?;
                diesel::delete(heads::table).execute(conn)
            })
            .await;
            let first = chain.min(other);
            assert_eq!(verdict(&app).await, ChainVerdict::Broken { chain: first, sequence: 1, fault: "sealed" });
        })
        .await;
    }

    #[tokio::test]
    async fn damage_between_two_seals_shows() {
        each_backend(|app| async move {
            let owner = testing::vendor(&app, "acme").await;
            let chain = owner.organization_id().unwrap().to_owned();
            tokens::create(&app, &owner, "ci", &["read"], 10).await.unwrap();
            let of = chain.clone();
            tamper(&app, move |conn| diesel::delete(records::table.find((of, 2i64))).execute(conn)).await;
            assert_eq!(verdict(&app).await, ChainVerdict::Broken { chain: chain.clone(), sequence: 2, fault: "head" });
            let of = chain.clone();
            tamper(&app, move |conn| diesel::update(heads::table.find(of)).set(heads::sequence.eq(0i64)).execute(conn)).await;
            assert_eq!(verdict(&app).await, ChainVerdict::Broken { chain, sequence: 1, fault: "head" });
        })
        .await;
    }

    #[tokio::test]
    async fn a_seal_that_was_changed_shows_and_of_many_who_seal_one_does() {
        testing::each_backend_racing(|app| async move {
            testing::vendor(&app, "acme").await;
            let own = app.clone();
            let sealed = race(move |_| {
                let app = own.clone();
                async move { seal::seal(&app).await.unwrap() }
            })
            .await;
            assert_eq!(sealed.into_iter().flatten().collect::<Vec<_>>(), [1]);
            testing::assert_intact(&app).await;
            tamper(&app, |conn| diesel::update(seals::table.find(1i64)).set(seals::root.eq("00")).execute(conn)).await;
            assert_eq!(verdict(&app).await, ChainVerdict::Broken { chain: String::new(), sequence: 1, fault: "seal" });
        })
        .await;
    }
}
