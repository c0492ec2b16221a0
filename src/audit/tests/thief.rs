//! What the log shows of somebody who can write the database and has no key, on both backends.

use actix_web::http::{Method, header};
use app_package::dsse;
use app_package::root::Role as KeyRole;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use ed25519_dalek::{Signer as _, SigningKey};

use crate::account::tokens;
use crate::audit::model::{ChainVerdict, GENESIS, Record};
use crate::audit::service::verify;
use crate::audit::{note, seal, store};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::Conn;
use crate::base::db::schema::{audit_heads, audit_records, audit_seal_leaves, audit_seals};
use crate::base::pki::{keys, roots};
use crate::testing::{self, each_backend};

/// Seals, and notes it; gives the number, and whether the database is the one that was noted.
async fn sealed(app: &App) -> (Option<i64>, bool) {
    app.clock.advance(TimeDelta::seconds(10));
    (seal::seal(app).await.unwrap(), note::keep(app).await.unwrap())
}

async fn record(app: &App, owner: &Actor) {
    tokens::create(app, owner, "ci", &["read"], 10).await.unwrap();
}

/// A log of three records in one chain and two seals; gives who wrote, and the chain.
async fn log_of(app: &App) -> (Actor, String) {
    let owner = testing::vendor(app, "acme").await;
    record(app, &owner).await;
    assert_eq!(sealed(app).await, (Some(1), true));
    record(app, &owner).await;
    assert_eq!(sealed(app).await, (Some(2), true));
    let chain = owner.organization_id().unwrap().to_owned();
    (owner, chain)
}

async fn steal(app: &App, f: impl FnOnce(&mut Conn) -> QueryResult<()> + Send + 'static) {
    testing::unguarded(app).await;
    app.db.write(move |conn| Ok(f(conn)?)).await.unwrap();
}

fn broken(sequence: i64, fault: &'static str) -> ChainVerdict {
    ChainVerdict::Broken { chain: String::new(), sequence, fault }
}

fn intact(records: i64, seals: i64, signed: i64, noted: bool) -> ChainVerdict {
    ChainVerdict::Intact { records, chains: 1, seals, signed, noted }
}

/// Changes the amount in an old record of a chain, and makes anew all that follows from it: hashes, head, leaves, roots, and what the seals say
/// of one another. Signatures stay as they are, or are made with a key of the thief's own.
fn rewrite(conn: &mut Conn, chain: &str, own: Option<&SigningKey>) -> QueryResult<()> {
    let of = audit_records::table.filter(audit_records::chain.eq(chain)).order(audit_records::sequence);
    let rows: Vec<Record> = of.select(Record::as_select()).load(conn)?;
    let mut hash = GENESIS.to_owned();
    for mut row in rows {
        if row.sequence == 2 {
            row.detail = "{\"amount\":1}".into();
        }
        row.previous_hash = hash;
        hash = row.expected_hash();
        diesel::update(audit_records::table.find((chain, row.sequence)))
            .set((
                audit_records::detail.eq(&row.detail),
                audit_records::previous_hash.eq(&row.previous_hash),
                audit_records::hash.eq(&hash),
            ))
            .execute(conn)?;
        diesel::update(audit_seal_leaves::table.find((chain, row.sequence))).set(audit_seal_leaves::hash.eq(&hash)).execute(conn)?;
    }
    diesel::update(audit_heads::table.find(chain)).set(audit_heads::hash.eq(&hash)).execute(conn)?;
    let mut hash = GENESIS.to_owned();
    for mut seal in store::seals_after(conn, 0, 100)? {
        seal.statement.root = seal::root(&mut store::leaves_of(conn, seal.statement.number)?);
        let signed = own.is_some() || seal.is_signed();
        let said = if signed { seal.statement.clone() } else { seal.statement.clone().unsigned(hash.clone()) };
        let said = seal::Statement { previous: hash, ..said };
        hash = said.hash();
        if let Some(key) = own {
            seal.kid = app_package::keys::kid_of(&key.verifying_key());
            seal.signature = STANDARD.encode(key.sign(&dsse::pae(&seal.envelope().payload_type, &said.payload())).to_bytes());
        }
        let previous = if signed { said.previous.as_str() } else { "" };
        diesel::update(audit_seals::table.find(said.number))
            .set((
                audit_seals::root.eq(&said.root),
                audit_seals::previous.eq(previous),
                audit_seals::kid.eq(&seal.kid),
                audit_seals::signature.eq(&seal.signature),
            ))
            .execute(conn)?;
    }
    Ok(())
}

/// Takes the signatures from seals, as if they were from before there were any.
fn strip(conn: &mut Conn, numbers: &[i64]) -> QueryResult<()> {
    let of = audit_seals::table.filter(audit_seals::number.eq_any(numbers));
    let none = (audit_seals::previous.eq(""), audit_seals::signed_from.eq(0), audit_seals::kid.eq(""), audit_seals::signature.eq(""));
    diesel::update(of).set(none).execute(conn).map(|_| ())
}

/// Cuts off the newest seal, and the record that it holds.
fn cut(conn: &mut Conn, chain: &str) -> QueryResult<()> {
    diesel::delete(audit_seal_leaves::table.filter(audit_seal_leaves::number.eq(2))).execute(conn)?;
    diesel::delete(audit_seals::table.filter(audit_seals::number.eq(2))).execute(conn)?;
    diesel::delete(audit_records::table.find((chain, 3i64))).execute(conn)?;
    let hash: String = audit_records::table.find((chain, 2i64)).select(audit_records::hash).first(conn)?;
    diesel::update(audit_heads::table.find(chain)).set((audit_heads::sequence.eq(2), audit_heads::hash.eq(hash))).execute(conn).map(|_| ())
}

#[tokio::test]
async fn chains_that_were_made_anew_show() {
    each_backend(|app| async move {
        let (owner, chain) = log_of(&app).await;
        assert_eq!(verify(&app).await.unwrap(), intact(3, 2, 2, true));
        let of = chain.clone();
        steal(&app, move |conn| rewrite(conn, &of, None)).await;
        assert_eq!(verify(&app).await.unwrap(), broken(1, "signature"));
        // The server goes on, and that makes nothing good.
        record(&app, &owner).await;
        assert_eq!(sealed(&app).await, (Some(3), false));
        assert_eq!(verify(&app).await.unwrap(), broken(1, "signature"));
        let auditor = testing::platform(&app, Role::Auditor).await;
        let answer = testing::answer(&app, &auditor, Method::POST, "/admin/audit/verify", "", None).await;
        let told = answer.headers().get(header::SET_COOKIE).unwrap().to_str().unwrap();
        assert!(told.contains("danger%7Caudit%2Dseal%2Dsignature%7Cn%3D1"), "{told}");

        // Without any signature, as if all were from before; then with the thief's own.
        steal(&app, |conn| strip(conn, &[1, 2, 3])).await;
        assert_eq!(verify(&app).await.unwrap(), broken(1, "unsigned"));
        steal(&app, move |conn| rewrite(conn, &chain, Some(&SigningKey::from_bytes(&[7; 32])))).await;
        assert_eq!(verify(&app).await.unwrap(), broken(2, "noted"));
        std::fs::remove_file(note::path(&app)).unwrap();
        assert_eq!(verify(&app).await.unwrap(), broken(1, "key"));
    })
    .await;
}

#[tokio::test]
async fn a_signature_that_is_gone_shows() {
    each_backend(|app| async move {
        log_of(&app).await;
        std::fs::remove_file(note::path(&app)).unwrap();
        let kept = app.db.read(|conn| Ok(store::seal_of(conn, 2)?.unwrap())).await.unwrap();
        steal(&app, |conn| strip(conn, &[2])).await;
        assert_eq!(verify(&app).await.unwrap(), broken(2, "unsigned"));
        steal(&app, move |conn| {
            strip(conn, &[1])?;
            let said = (audit_seals::previous.eq(&kept.statement.previous), audit_seals::signed_from.eq(kept.statement.signed_from));
            let signed = (audit_seals::kid.eq(&kept.kid), audit_seals::signature.eq(&kept.signature));
            diesel::update(audit_seals::table.find(2)).set((said, signed)).execute(conn).map(|_| ())
        })
        .await;
        assert_eq!(verify(&app).await.unwrap(), broken(1, "unsigned"));
    })
    .await;
}

#[tokio::test]
async fn a_database_that_was_set_back_shows_until_somebody_answers_for_it() {
    each_backend(|app| async move {
        let (owner, chain) = log_of(&app).await;
        steal(&app, move |conn| cut(conn, &chain)).await;
        assert_eq!(verify(&app).await.unwrap(), broken(2, "noted"));
        // Other records and seals in their place, by the server itself.
        for number in [2, 3] {
            record(&app, &owner).await;
            assert_eq!(sealed(&app).await, (Some(number), false));
            assert_eq!(verify(&app).await.unwrap(), broken(2, "noted"));
        }
        let path = note::path(&app);
        std::fs::write(&path, "{").unwrap();
        assert_eq!((verify(&app).await.unwrap(), note::keep(&app).await.unwrap()), (broken(0, "note"), false));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(verify(&app).await.unwrap(), intact(4, 3, 3, false));
        assert!(note::keep(&app).await.unwrap());
        assert_eq!(verify(&app).await.unwrap(), intact(4, 3, 3, true));
    })
    .await;
}

#[tokio::test]
async fn the_first_signature_covers_the_seals_from_before() {
    each_backend(|app| async move {
        let (owner, chain) = log_of(&app).await;
        std::fs::remove_file(note::path(&app)).unwrap();
        steal(&app, |conn| strip(conn, &[1, 2])).await;
        assert_eq!((verify(&app).await.unwrap(), note::keep(&app).await.unwrap()), (intact(3, 2, 0, false), true));
        assert_eq!(note::read(&note::path(&app)).unwrap(), note::Note::Absent, "what nobody has signed is not noted");
        record(&app, &owner).await;
        assert_eq!(sealed(&app).await, (Some(3), true));
        record(&app, &owner).await;
        assert_eq!(sealed(&app).await, (Some(4), true));
        assert_eq!(verify(&app).await.unwrap(), intact(5, 4, 2, true));
        steal(&app, move |conn| rewrite(conn, &chain, None)).await;
        assert_eq!(verify(&app).await.unwrap(), broken(3, "signature"));
    })
    .await;
}

#[tokio::test]
async fn keys_of_the_log_change() {
    each_backend(|app| async move {
        let folder = app.settings.data_dir.0.join("keys");
        let rotate = |distrust: bool| {
            let next = roots::Next::Rotate { role: KeyRole::Log, distrust };
            let mut envelope = roots::draft(&folder, &app.keys.get().root, &next).unwrap();
            for path in roots::keys_here(&folder) {
                dsse::countersign(&mut envelope, &keys::read_key(&path).unwrap()).unwrap();
            }
            roots::take(&folder, &envelope).unwrap();
            assert!(app.keys.refresh().unwrap());
        };
        let (owner, _) = log_of(&app).await;
        rotate(false);
        record(&app, &owner).await;
        assert_eq!(sealed(&app).await, (Some(3), true));
        assert_eq!(verify(&app).await.unwrap(), intact(4, 3, 3, true));
        // A key that may be in other hands proves nothing: what it signed holds by the note, then by the next signature.
        rotate(true);
        assert_eq!(verify(&app).await.unwrap(), intact(4, 3, 0, true));
        let (path, aside) = (note::path(&app), note::path(&app).with_extension("aside"));
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(verify(&app).await.unwrap(), broken(1, "key"));
        std::fs::rename(&aside, &path).unwrap();
        record(&app, &owner).await;
        assert_eq!(sealed(&app).await, (Some(4), true));
        assert_eq!(verify(&app).await.unwrap(), intact(5, 4, 1, true));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(verify(&app).await.unwrap(), intact(5, 4, 1, false));
    })
    .await;
}

#[tokio::test]
async fn what_is_written_stays_as_it_is() {
    each_backend(|app| async move {
        log_of(&app).await;
        let postgres = app.settings.database.url.starts_with("postgres");
        let refused = [
            "UPDATE audit_records SET detail = '{}'",
            "DELETE FROM audit_records",
            "UPDATE audit_seals SET signature = ''",
            "DELETE FROM audit_seals",
            "INSERT INTO audit_seals (number, at, root) VALUES (3, '2026-01-01 00:00:00', '')",
            "UPDATE audit_seal_leaves SET hash = ''",
            "DELETE FROM audit_seal_leaves",
            "UPDATE audit_heads SET base_sequence = 1, base_hash = ''",
            "DELETE FROM audit_heads",
        ];
        let truncated = ["TRUNCATE audit_records", "TRUNCATE audit_seals CASCADE", "TRUNCATE audit_seal_leaves", "TRUNCATE audit_heads"];
        let replaced = [
            "INSERT OR REPLACE INTO audit_records SELECT * FROM audit_records",
            "INSERT OR REPLACE INTO audit_heads SELECT * FROM audit_heads",
            "INSERT OR REPLACE INTO audit_seal_leaves SELECT * FROM audit_seal_leaves",
        ];
        let own = truncated.into_iter().filter(|_| postgres).chain(replaced.into_iter().filter(|_| !postgres));
        for statement in refused.into_iter().chain(own) {
            let done = app.db.write(move |conn| Ok(conn.batch_execute(statement)?)).await;
            let words = done.expect_err(statement).to_string();
            assert!(
                words.contains("refused") || words.contains("needs a signature") || words.contains("no seal holds"),
                "{statement}: {words}"
            );
        }
        assert_eq!(verify(&app).await.unwrap(), intact(3, 2, 2, true));
    })
    .await;
}
