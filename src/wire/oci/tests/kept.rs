//! Manifests that come from memory: what leaves them there, and what does not.

use super::pulls::{Sold, bearer, sold};
use super::*;
use crate::account::service as account;
use crate::account::sign_in::Browser;
use crate::account::{passwords, team};
use crate::base::db::{Db, Location};
use crate::base::i18n::Lang;
use crate::fleet::service as fleet;
use crate::stops::model::Stop;
use crate::stops::service::act;
use crate::{audit, server};

const PATH: &str = "/v2/acme/belt/manifests/1.0.0";

async fn pull(app: &App, bearer: &str) -> u16 {
    send(app, &Actor::Anonymous, Method::GET, PATH, &[("authorization", bearer)], b"").await.status.as_u16()
}

/// Writes as another process does, of which memory does not know.
async fn behind(app: &App, sql: &'static str) {
    let other = Db::open(&Location::parse(&app.settings.database.url).unwrap(), 2).unwrap();
    other.write(move |conn| Ok(conn.batch_execute(sql)?)).await.unwrap();
}

#[tokio::test]
async fn what_others_write_leaves_what_is_kept() {
    each_backend(|app| async move {
        let Sold { acme, mine, node, .. } = sold(&app).await;
        let (bolt, other) = (testing::vendor(&app, "bolt").await, testing::operator(&app, "other").await);
        let stranger = testing::node(&app, &other).await;
        let pump = push_layer(&app, &bolt, "bolt/pump", b"pump", None).await.to_bytes();
        testing::drain_jobs(&app).await;
        let bearers = [bearer(&app, &mine).await, bearer(&app, &node).await];
        let all = async |expected: u16, what: &str| {
            for bearer in &bearers {
                assert_eq!(pull(&app, bearer).await, expected, "{what}");
            }
        };
        all(200, "the first time").await;
        // From now on only memory says that the licence is good.
        behind(&app, "UPDATE licenses SET state = 'revoked'").await;

        put_manifest(&app, &bolt, "bolt/pump", "1.0.0", &pump).await.expect(201);
        all(200, "a push of another developer").await;
        start(&app, &acme, "acme/belt").await;
        push_blob(&app, &acme, "acme/belt", b"more").await;
        all(200, "blobs, also of its own repository: no manifest is another one for that").await;
        audit::change(&app, &stranger, |_| Ok(())).await.unwrap();
        all(200, "a report of another mine's node").await;
        account::sign_in(&app, "owner@other.example", testing::PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        all(200, "a person of another organisation who signs in").await;
        let wrong = account::sign_in(&app, "owner@mine.example", "wrong".into(), "10.0.0.1", "test").await;
        assert_eq!(wrong.unwrap_err().code, "wrong-password");
        all(200, "a stranger who does not sign in").await;
        audit::seal::seal(&app).await.unwrap();
        for lane in [crate::base::jobs::Lane::Checks, crate::base::jobs::Lane::Prompt] {
            assert!(!crate::base::jobs::run_one(&app, lane, server::work::WORKER).await.unwrap(), "nothing is to be done");
        }
        all(200, "a look for work, and a seal").await;

        // What its owner does, and only that.
        put_manifest(&app, &acme, "acme/belt", "latest", &push_layer(&app, &acme, "acme/belt", b"new", None).await.to_bytes())
            .await
            .expect(201);
        all(404, "a push of the same developer").await;
    })
    .await;
}

#[tokio::test]
async fn what_belongs_to_one_holder_leaves_what_another_one_gets() {
    each_backend(|app| async move {
        let Sold { mine, node, .. } = sold(&app).await;
        let (of_mine, of_node) = (bearer(&app, &mine).await, bearer(&app, &node).await);
        assert_eq!((pull(&app, &of_mine).await, pull(&app, &of_node).await), (200, 200));
        behind(&app, "UPDATE licenses SET state = 'revoked'").await;
        // What a node does concerns it alone; what its mine does, all of the mine.
        audit::change(&app, &node, |_| Ok(())).await.unwrap();
        assert_eq!((pull(&app, &of_mine).await, pull(&app, &of_node).await), (200, 404));
        audit::change(&app, &mine, |_| Ok(())).await.unwrap();
        assert_eq!(pull(&app, &of_mine).await, 404);
    })
    .await;
}

/// Whatever ends a right, whoever does it and for which organisation: the next pull shows it, though the one before came from memory.
#[tokio::test]
async fn the_end_of_a_right_shows_at_the_next_pull() {
    each_backend(|app| async move {
        let Sold { acme, mine, .. } = sold(&app).await;
        let administrator = testing::platform(&app, Role::Administrator).await;
        let organization = mine.person().unwrap().organization_id.clone();
        let other = testing::operator(&app, "other").await;
        let kept = async |bearer: &str| {
            for _ in 0..2 {
                assert_eq!(pull(&app, bearer).await, 200);
            }
        };

        // A member leaves.
        let colleague = testing::member(&app, &organization, Role::Deployer, "two@mine.example").await;
        let of_colleague = bearer(&app, &colleague).await;
        kept(&of_colleague).await;
        team::remove(&app, &mine, colleague.person().unwrap().user_id.clone()).await.unwrap();
        assert_eq!(pull(&app, &of_colleague).await, 401);

        // A person ends what they do here while they act for another organisation.
        let secret = team::invite(&app, &mine, "owner@other.example", "deployer", "10.0.0.1").await.unwrap();
        let at = Browser::at("10.0.0.1");
        let here = team::accept_as_known(&app, &secret, testing::PASSWORD.into(), at).await.unwrap();
        let here = account::authenticate_session(&app, &here.session).await.unwrap();
        assert_eq!(here.organization_id(), Some(organization.as_str()));
        let cookie = account::sign_in(&app, "owner@other.example", testing::PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        let there = account::authenticate_session(&app, &cookie).await.unwrap();
        account::switch_organization(&app, &there, other.organization_id().unwrap().to_owned()).await.unwrap();
        let there = account::authenticate_session(&app, &cookie).await.unwrap();
        assert_eq!(there.organization_id(), other.organization_id());
        let of_here = bearer(&app, &here).await;
        kept(&of_here).await;
        let new = "another lamp in the dark".to_owned();
        passwords::change(&app, &there, testing::PASSWORD.into(), new, at, Lang::En).await.unwrap();
        assert_eq!(pull(&app, &of_here).await, 401);

        // An administrator ends all sessions, or a node goes.
        let again = account::sign_in(&app, "owner@mine.example", testing::PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        let again = account::authenticate_session(&app, &again).await.unwrap();
        let of_again = bearer(&app, &again).await;
        kept(&of_again).await;
        act(&app, &administrator, Stop::EndSessions, &mine.person().unwrap().user_id, "lost phone").await.unwrap();
        assert_eq!(pull(&app, &of_again).await, 401);
        let site = fleet::create_site(&app, &mine, "二号井").await.unwrap();
        let issued = fleet::create_node(&app, &mine, &site, "主运 2").await.unwrap();
        let enrolled = fleet::enroll(&app, issued.code, testing::csr(), "1.0.0".into()).await.unwrap();
        let second = Actor::Node { node_id: enrolled.node_id.clone(), organization_id: enrolled.organization_id };
        let of_second = bearer(&app, &second).await;
        kept(&of_second).await;
        fleet::remove_node(&app, &mine, &enrolled.node_id).await.unwrap();
        assert_eq!(pull(&app, &of_second).await, 401);

        // The platform suspends the developer.
        let of_acme = bearer(&app, &acme).await;
        kept(&of_acme).await;
        act(&app, &administrator, Stop::SuspendOrganization, acme.organization_id().unwrap(), "unpaid").await.unwrap();
        assert_eq!(pull(&app, &of_acme).await, 401);
    })
    .await;
}
