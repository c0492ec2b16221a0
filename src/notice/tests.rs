//! Messages on both backends, with an SMTP server on a real connection.

use std::io::Write;
use std::sync::{Arc, Mutex};

use actix_web::http::Method;
use chrono::TimeDelta;
use diesel::prelude::*;
use futures_util::future::BoxFuture;

use super::model::{Message, MessageState};
use super::{jobs, service};
use crate::account::{addresses, passwords, service as account};
use crate::audit;
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema;
use crate::base::error::{Error, Result};
use crate::base::i18n::Lang;
use crate::base::jobs::{Job, Lane, Worker, run_one};
use crate::base::notify::{Notice, NoticeKind};
use crate::server::work::WORKER;
use crate::testing::smtp::each_backend_with_mail;
use crate::testing::{self, PASSWORD, drain_jobs, each_backend, each_backend_with, page};

async fn tell(app: &App, notice: &Notice) {
    let notice = notice.clone();
    audit::change(app, &Actor::System, move |c| c.enqueue(&notice.clone().job())).await.unwrap();
    drain_jobs(app).await;
}

fn notice(actor: &Actor, kind: NoticeKind) -> Notice {
    let person = actor.person().unwrap();
    Notice::new(kind, Lang::En, &person.user_id, &person.email).arg("address", &person.email).arg("minutes", 30)
}

async fn all(app: &App) -> Vec<Message> {
    let admin = testing::platform(app, Role::Administrator).await;
    service::list(app, &admin, None, None).await.unwrap()
}

#[tokio::test]
async fn a_notice_is_mailed_once_and_its_secret_is_not_kept() {
    each_backend_with_mail(|app, smtp| async move {
        let owner = testing::vendor(&app, "acme").await;
        let told = notice(&owner, NoticeKind::ResetPassword).link("/new-password?secret=s3cret".into());
        // A value that tries to be a header, and a dot that tries to end the mail.
        let told = told.arg("minutes", "30\r\nBcc: all@acme.example\r\n.\r\nMAIL FROM:<x@y.cn>");
        tell(&app, &told).await;
        tell(&app, &told).await;
        let mails = smtp.take();
        assert_eq!(mails.len(), 1, "the job ran twice");
        let mail = &mails[0];
        assert_eq!((mail.from.as_str(), &mail.to[..]), ("no-reply@pithead.example", &["owner@acme.example".to_owned()][..]));
        assert_eq!(mail.header("To"), "owner@acme.example");
        assert_eq!(mail.header("Subject"), "New password for Pithead");
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        assert_eq!(mail.header("Message-ID"), format!("<{}@127.0.0.1>", told.id));
        assert!(mail.headers.iter().all(|line| !line.starts_with("Bcc")), "{:?}", mail.headers);
        assert_eq!(mail.link("http://127.0.0.1:8080"), "/new-password?secret=s3cret");
        assert_eq!(smtp.greetings().last().unwrap(), "[127.0.0.1]");
        let messages = all(&app).await;
        let [message] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!((message.state, &message.mail, message.sent_at), (MessageState::Sent, &None, Some(app.clock.now())));
        assert!(!format!("{message:?}").contains("s3cret"));
    })
    .await;
}

#[tokio::test]
async fn a_mail_that_is_refused_for_now_is_tried_again() {
    each_backend_with_mail(|app, smtp| async move {
        let owner = testing::vendor(&app, "acme").await;
        smtp.refuse(&["451 greylisted"]);
        tell(&app, &notice(&owner, NoticeKind::PasswordChanged)).await;
        let waiting = all(&app).await.remove(0);
        assert_eq!((waiting.state, smtp.take().len()), (MessageState::Waiting, 0));
        assert!(waiting.last_error.unwrap().contains("greylisted"));
        app.clock.advance(TimeDelta::seconds(59));
        drain_jobs(&app).await;
        assert!(smtp.take().is_empty(), "not before its time");
        app.clock.advance(TimeDelta::seconds(2));
        drain_jobs(&app).await;
        assert_eq!(smtp.take().len(), 1);
        let sent = all(&app).await.remove(0);
        assert_eq!((sent.state, sent.last_error), (MessageState::Sent, None));
    })
    .await;
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whoever signs up with an address that the mail server puts off writes no error into the log.
#[tokio::test]
async fn a_mail_that_is_refused_for_now_is_no_error_of_ours() {
    each_backend_with_mail(|app, smtp| async move {
        let owner = testing::vendor(&app, "acme").await;
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(log);
        smtp.refuse(&["451 greylisted"; 8]);
        tell(&app, &notice(&owner, NoticeKind::PasswordChanged)).await;
        while all(&app).await[0].state == MessageState::Waiting {
            app.clock.advance(TimeDelta::minutes(1));
            drain_jobs(&app).await;
        }
        let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(told.contains("job failed for now") && !told.contains("ERROR"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_given_up_and_shown() {
    each_backend_with_mail(|app, smtp| async move {
        let owner = testing::vendor(&app, "acme").await;
        smtp.refuse(&["550 no such <b>user</b>"]);
        tell(&app, &notice(&owner, NoticeKind::ResetPassword).link("/new-password?secret=s3cret".into())).await;
        app.clock.advance(TimeDelta::hours(3));
        drain_jobs(&app).await;
        assert!(smtp.take().is_empty(), "one try");
        let failed = all(&app).await.remove(0);
        assert_eq!((failed.state, failed.mail), (MessageState::Failed, None));
        let admin = testing::platform(&app, Role::Administrator).await;
        let (status, shown) = page(&app, &admin, Method::GET, "/admin/messages?state=failed", "").await;
        assert!(status == 200 && shown.contains("no such &#60;b&#62;user") && !shown.contains("s3cret"), "{shown}");
        assert!(shown.contains(&format!("/admin/people/{}/reset-password", owner.person().unwrap().user_id)), "somebody has to help");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_for_two_hours() {
    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    each_backend_with(
        move |settings| {
            settings.mail.server = "127.0.0.1".into();
            settings.mail.port = port;
            settings.mail.tls = "none".into();
            settings.mail.from = "no-reply@pithead.example".into();
        },
        |app| async move {
            let owner = testing::vendor(&app, "acme").await;
            let told = [NoticeKind::PasswordChanged, NoticeKind::ResetPassword].map(|kind| notice(&owner, kind));
            for notice in &told {
                tell(&app, notice).await;
            }
            let states = async |app: &App| {
                let messages = all(app).await;
                told.iter().map(|n| messages.iter().find(|m| m.id == n.id).unwrap().state).collect::<Vec<_>>()
            };
            let mut minutes = 0;
            while states(&app).await[0] == MessageState::Waiting {
                assert!(minutes < 300, "it never ends");
                app.clock.advance(TimeDelta::minutes(1));
                minutes += 1;
                drain_jobs(&app).await;
                if minutes == 40 {
                    // A link that has ended helps nobody.
                    assert_eq!(states(&app).await, [MessageState::Waiting, MessageState::Failed]);
                }
            }
            assert_eq!(states(&app).await, [MessageState::Failed; 2]);
            assert!((60..=180).contains(&minutes), "{minutes} minutes");
            assert!(all(&app).await.iter().all(|m| m.last_error.is_some() && m.mail.is_none()));
        },
    )
    .await;
}

#[tokio::test]
async fn without_mail_the_text_is_in_the_inbox_and_an_administrator_hands_the_link_over() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let other = testing::vendor(&app, "other").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        passwords::forgotten(&app, " Owner@ACME.example", "10.0.0.1", Lang::En).await.unwrap();
        passwords::forgotten(&app, "nobody@acme.example", "10.0.0.1", Lang::En).await.unwrap();
        drain_jobs(&app).await;
        let inbox = service::inbox(&app, &owner, None).await.unwrap();
        assert_eq!(
            inbox.iter().map(|m| (m.kind, m.state, m.mail.is_none())).collect::<Vec<_>>(),
            [(NoticeKind::ResetPassword, MessageState::Kept, true)]
        );
        assert!(!inbox[0].body.contains("secret="), "{}", inbox[0].body);
        assert!(service::inbox(&app, &other, None).await.unwrap().is_empty());
        let (status, shown) = page(&app, &owner, Method::GET, "/account/messages", "").await;
        assert!(status == 200 && shown.contains("New password for Pithead") && shown.contains("administrator"), "{shown}");
        let id = owner.person().unwrap().user_id.clone();
        let (_, shown) = page(&app, &admin, Method::GET, "/admin/messages", "").await;
        assert!(shown.contains(&format!("/admin/people/{id}/reset-password")), "{shown}");
        // Administrators only, in a session only.
        for role in [Role::Moderator, Role::Finance, Role::Auditor] {
            let who = testing::platform(&app, role).await;
            assert_eq!(page(&app, &who, Method::GET, "/admin/messages", "").await.0, 403);
            assert_eq!(passwords::issue_reset(&app, &who, &id).await.unwrap_err().code, "not-permitted");
        }
        assert_eq!(page(&app, &owner, Method::POST, &format!("/admin/people/{id}/reset-password"), "").await.0, 403);
        let secret = passwords::issue_reset(&app, &admin, &id).await.unwrap();
        passwords::reset(&app, &secret, "another lamp in the dark".into(), account::Browser::at("10.0.0.9"), Lang::En)
            .await
            .unwrap()
            .unwrap();
        account::sign_in(&app, "owner@acme.example", "another lamp in the dark".into(), "10.0.0.1", "t").await.unwrap();
        assert_eq!(passwords::issue_reset(&app, &admin, "usr_none").await.unwrap_err().code, "person");
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_password_comes_back_by_mail() {
    each_backend_with_mail(|app, smtp| async move {
        testing::vendor(&app, "acme").await;
        for address in ["owner@acme.example", "nobody@acme.example", "owner@acme.example"] {
            passwords::forgotten(&app, address, "10.0.0.1", Lang::Zh).await.unwrap();
        }
        drain_jobs(&app).await;
        let mails = smtp.take();
        assert_eq!(mails.iter().map(|m| m.to[0].as_str()).collect::<Vec<_>>(), ["owner@acme.example"; 2], "nothing to strangers");
        assert!(mails[0].text.contains("30 分钟"), "{}", mails[0].text);
        let secret = |n: usize| mails[n].link("http://127.0.0.1:8080").strip_prefix("/new-password?secret=").unwrap().to_owned();
        let new = || "another lamp in the dark".to_owned();
        assert_eq!(
            passwords::reset(&app, &secret(0), new(), account::Browser::at("10.0.0.9"), Lang::Zh).await.unwrap_err().code,
            "link-over",
            "replaced"
        );
        passwords::reset(&app, &secret(1), new(), account::Browser::at("10.0.0.9"), Lang::Zh).await.unwrap().unwrap();
        assert_eq!(
            passwords::reset(&app, &secret(1), new(), account::Browser::at("10.0.0.9"), Lang::Zh).await.unwrap_err().code,
            "link-over",
            "used"
        );
        let old = account::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "t").await;
        assert_eq!(old.unwrap_err().code, "wrong-password");
        account::sign_in(&app, "owner@acme.example", new(), "10.0.0.1", "t").await.unwrap();
        drain_jobs(&app).await;
        assert!(smtp.take()[0].text.contains("密码已修改"), "the person is told");
        // Nobody is mailed to death: three links in a quarter of an hour.
        for _ in 0..6 {
            passwords::forgotten(&app, "owner@acme.example", "10.0.0.2", Lang::Zh).await.unwrap();
        }
        drain_jobs(&app).await;
        assert_eq!(smtp.take().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_address_is_proved_by_a_link_to_it() {
    each_backend_with_mail(|app, smtp| async move {
        let form = "email=new%40mine.example&name=New&password=a+lamp+in+the+dark&kind=operator&slug=mine&name_en=Mine";
        let (status, _) = page(&app, &Actor::Anonymous, Method::POST, "/sign-up", form).await;
        assert_eq!(status, 303);
        drain_jobs(&app).await;
        let session = async |email: &str| {
            let cookie = account::sign_in(&app, email, PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
            account::authenticate_session(&app, &cookie).await.unwrap()
        };
        let new = session("new@mine.example").await;
        assert!(!new.person().unwrap().email_verified);
        let mails = smtp.take();
        assert_eq!(mails.len(), 1);
        let secret = mails[0].link("http://127.0.0.1:8080").strip_prefix("/confirm-address?secret=").unwrap().to_owned();
        addresses::prove(&app, &secret, Lang::En).await.unwrap();
        assert!(session("new@mine.example").await.person().unwrap().email_verified);
        assert_eq!(addresses::prove(&app, &secret, Lang::En).await.unwrap_err().code, "link-over");
        // Another address takes its place when it is proved, and the old one is told.
        let wrong = addresses::change(&app, &new, "next@mine.example", "wrong".into(), account::Browser::at("10.0.0.1"), Lang::En).await;
        assert_eq!(wrong.unwrap_err().fields[0].code, "current-password-wrong");
        assert!(
            !addresses::change(&app, &new, "Next@mine.example", PASSWORD.into(), account::Browser::at("10.0.0.1"), Lang::En).await.unwrap()
        );
        drain_jobs(&app).await;
        let mails = smtp.take();
        assert_eq!(mails[0].to, ["next@mine.example"]);
        session("new@mine.example").await;
        let secret = mails[0].link("http://127.0.0.1:8080").strip_prefix("/confirm-address?secret=").unwrap().to_owned();
        assert_eq!(addresses::prove(&app, &secret, Lang::En).await.unwrap(), "next@mine.example");
        assert!(session("next@mine.example").await.person().unwrap().email_verified);
        drain_jobs(&app).await;
        let told = smtp.take();
        assert!(told[0].to == ["new@mine.example"] && told[0].text.contains("next@mine.example"), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn whether_an_address_has_an_account_is_told_to_its_holder_only() {
    each_backend_with_mail(|app, smtp| async move {
        testing::vendor(&app, "acme").await;
        testing::vendor(&app, "other").await;
        let cookie = account::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
        let asker = account::authenticate_session(&app, &cookie).await.unwrap();
        let change =
            async |email: &str| addresses::change(&app, &asker, email, PASSWORD.into(), account::Browser::at("10.0.0.1"), Lang::En).await;
        for (email, subject) in [("free@other.example", "Confirm your address"), ("owner@other.example", "Your address was given")] {
            assert!(!change(email).await.unwrap(), "{email}");
            drain_jobs(&app).await;
            let mails = smtp.take();
            let [mail] = mails.as_slice() else { panic!("{mails:?}") };
            assert!(mail.to == [email.to_owned()] && mail.header("Subject").starts_with(subject), "{mail:?}");
            // Of the holder's language nothing is known.
            assert_eq!(mail.text.contains("此邮箱已有账号"), subject.starts_with("Your address"), "{mail:?}");
        }
        // The asker's own messages tell neither.
        assert_eq!(service::inbox(&app, &asker, None).await.unwrap().len(), 0);
        assert_eq!(page(&app, &asker, Method::GET, "/account/messages", "").await.1.matches("@other.example").count(), 0);
        // Asked again, it is the same answer, and no second mail.
        assert!(!change("owner@other.example").await.unwrap());
        for _ in 0..2 {
            change("owner@other.example").await.unwrap();
        }
        assert_eq!(change("owner@other.example").await.unwrap_err().code, "proof-throttled");
        let form = "email=owner%40other.example&name=New&password=a+lamp+in+the+dark&kind=operator&slug=mine&name_en=Mine";
        assert_eq!(page(&app, &Actor::Anonymous, Method::POST, "/sign-up", form).await.0, 409);
        drain_jobs(&app).await;
        assert!(smtp.take().is_empty());
        app.clock.advance(TimeDelta::days(1) + TimeDelta::minutes(1));
        assert_eq!(page(&app, &Actor::Anonymous, Method::POST, "/sign-up", form).await.0, 409);
        drain_jobs(&app).await;
        assert_eq!(smtp.take()[0].to, ["owner@other.example"], "who has the account hears of a sign-up, too");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_mailed_to_death() {
    each_backend_with_mail(|app, smtp| async move {
        let owner = testing::vendor(&app, "acme").await;
        for _ in 0..jobs::IN_INBOX + 5 {
            tell(&app, &notice(&owner, NoticeKind::PasswordChanged)).await;
        }
        let (mails, inbox) = (smtp.take().len(), service::inbox(&app, &owner, None).await.unwrap());
        assert_eq!((i64::try_from(mails).unwrap(), i64::try_from(inbox.len()).unwrap()), (jobs::TO_ADDRESS, jobs::IN_INBOX));
        assert_eq!(inbox[0].state, MessageState::Withheld);
        app.clock.advance(TimeDelta::minutes(61));
        tell(&app, &notice(&owner, NoticeKind::PasswordChanged)).await;
        assert_eq!(smtp.take().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn messages_go_when_they_are_old() {
    each_backend_with(
        |settings| settings.mail.keep_days = 10,
        |app| async move {
            let owner = testing::vendor(&app, "acme").await;
            passwords::forgotten(&app, "owner@acme.example", "10.0.0.1", Lang::En).await.unwrap();
            drain_jobs(&app).await;
            app.clock.advance(TimeDelta::days(9));
            jobs::prune(&app).await.unwrap();
            assert_eq!(service::inbox(&app, &owner, None).await.unwrap().len(), 1);
            app.clock.advance(TimeDelta::days(2));
            jobs::prune(&app).await.unwrap();
            assert!(service::inbox(&app, &owner, None).await.unwrap().is_empty());
        },
    )
    .await;
}

fn fails<'a>(_: &'a App, _: &'a Job) -> BoxFuture<'a, Result<()>> {
    Box::pin(async { Err(Error::unavailable("database-busy")) })
}

#[tokio::test]
async fn a_notice_that_is_given_up_leaves_a_failed_message_and_no_secret() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let told = notice(&owner, NoticeKind::ResetPassword).link("/new-password?secret=s3cret".into());
        audit::change(&app, &Actor::System, move |c| c.enqueue(&told.clone().job())).await.unwrap();
        let payloads = || app.db.read(|conn| Ok(schema::jobs::table.select(schema::jobs::payload).load::<String>(conn)?));
        let broken = Worker { run: fails, ..WORKER };
        let mut tries = 0;
        while run_one(&app, Lane::Mail, broken).await.unwrap() {
            tries += 1;
            app.clock.advance(TimeDelta::hours(3));
            let left = payloads().await.unwrap().concat();
            assert_eq!(left.contains("s3cret"), tries < 8, "after try {tries}: {left}");
        }
        assert_eq!((tries, payloads().await.unwrap().len()), (8, 1), "the job is kept as failed");
        let failed = all(&app).await.remove(0);
        assert_eq!((failed.state, &failed.mail), (MessageState::Failed, &None));
        assert!(failed.last_error.is_some() && !failed.body.contains("s3cret") && failed.body.contains("administrator"), "{failed:?}");
    })
    .await;
}
