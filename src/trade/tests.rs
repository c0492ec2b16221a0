//! Orders and payments on both backends: an app of the demo is listed, ordered, paid and licensed.

use actix_web::http::Method;
use chrono::TimeDelta;
use diesel::prelude::*;

use super::cancel;
use super::model::{Balance, OrderState, PlaceOrder};
use super::service::{self, ReceiptInput, Side};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::licenses;
use crate::base::error::{Kind, Result};
use crate::catalog::model::PlanKind;
use crate::catalog::plans::{self, PlanForm};
use crate::release::model::Channel;
use crate::testing::page;
use crate::testing::shop::{APP, approve, offer, submitted};
use crate::testing::{self, each_backend};

struct Shop {
    vendor: Actor,
    mine: Actor,
    finance: Actor,
    subscription: String,
    trial: String,
}

/// A listed app with its plans, a mine, and who confirms payments.
async fn shop(app: &App) -> Shop {
    let vendor = testing::vendor(app, "acme").await;
    let (_, case) = submitted(app, &vendor, "1.0.0", Channel::Stable).await;
    let plans = offer(app, &vendor, APP).await;
    let (subscription, trial) = (plans[&PlanKind::Subscription].clone(), plans[&PlanKind::Trial].clone());
    let mine = testing::operator(app, "mine").await;
    let early = service::place(app, &mine, PlaceOrder { plan_id: subscription.clone(), nodes: 1 }).await.unwrap_err();
    assert_eq!(early.code, "listing", "what is not listed is not sold");
    approve(app, &case).await;
    Shop { vendor, mine, finance: testing::platform(app, Role::Finance).await, subscription, trial }
}

async fn order(app: &App, shop: &Shop, nodes: i64) -> String {
    app.clock.advance(TimeDelta::minutes(1));
    service::place(app, &shop.mine, PlaceOrder { plan_id: shop.subscription.clone(), nodes }).await.unwrap()
}

fn receipt(amount: &str, bank_serial: &str, payer: &str) -> ReceiptInput {
    ReceiptInput { amount: amount.into(), bank_serial: bank_serial.into(), payer: payer.into(), accept_excess: false }
}

async fn detail(app: &App, actor: &Actor, side: Side, id: &str) -> Result<service::OrderDetail> {
    let (actor, id) = (actor.clone(), id.to_owned());
    app.db.read(move |conn| service::detail_in(conn, &actor, side, &id)).await
}

async fn state(app: &App, shop: &Shop, id: &str) -> OrderState {
    detail(app, &shop.mine, Side::Buyer, id).await.unwrap().order.state
}

async fn licenses_of(app: &App, order_id: &str) -> i64 {
    let id = order_id.to_owned();
    app.db.read(move |conn| Ok(licenses::table.filter(licenses::order_id.eq(id)).count().get_result(conn)?)).await.unwrap()
}

#[tokio::test]
async fn an_order_is_paid_by_the_exact_amount_and_licensed_once() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let id = order(&app, &shop, 2).await;
        let detail = detail(&app, &shop.mine, Side::Buyer, &id).await.unwrap();
        assert_eq!((detail.order.amount_fen, detail.order.state), (256_000, OrderState::AwaitingPayment));
        assert_eq!(detail.order.number, "PH-20260101-0001");
        assert_eq!(detail.order.reference.len(), 8);
        // The plan's end does not touch the order.
        plans::retire(&app, &shop.vendor, APP.into(), shop.subscription.clone()).await.unwrap();
        for who in [&shop.mine, &shop.vendor] {
            let error = service::confirm_payment(&app, who, &id, &receipt("2560", "ICBC-1", "矿")).await.unwrap_err();
            assert_eq!(error.kind, Kind::Forbidden);
        }
        // Two clicks at once: one books, one finds the serial used.
        let (one, other) = (receipt("2,560.00", "ICBC-1", "北矿"), receipt("2,560.00", "icbc -1", "北矿"));
        let (a, b) = tokio::join!(
            service::confirm_payment(&app, &shop.finance, &id, &one),
            service::confirm_payment(&app, &shop.finance, &id, &other),
        );
        let (done, refused) = match (a, b) {
            (Ok(done), Err(refused)) | (Err(refused), Ok(done)) => (done, refused),
            both => panic!("not exactly one went through: {both:?}"),
        };
        assert_eq!((done.balance, done.order.state), (Balance::Exact, OrderState::Delivered));
        assert_eq!(refused.fields[0].code, "bank-serial-used");
        assert_eq!((state(&app, &shop, &id).await, licenses_of(&app, &id).await), (OrderState::Delivered, 1));
        // Another receipt for what is paid is refused, and nothing can be called off any more.
        let late = service::confirm_payment(&app, &shop.finance, &id, &receipt("1", "ICBC-2", "北矿")).await.unwrap_err();
        assert_eq!(late.code, "order-not-awaiting-payment");
        assert_eq!(cancel::by_buyer(&app, &shop.mine, &id).await.unwrap_err().code, "order-state");
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn amounts_that_differ_are_kept_and_shown() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let id = order(&app, &shop, 1).await;
        let part = service::confirm_payment(&app, &shop.finance, &id, &receipt("1,000.00", "BOC-0001", "<script>alert(1)</script>"))
            .await
            .unwrap();
        assert_eq!((part.balance, part.order.state), (Balance::Missing(28_000), OrderState::AwaitingPayment));
        assert_eq!(cancel::by_buyer(&app, &shop.mine, &id).await.unwrap_err().code, "order-has-payments");
        // Buyer and finance both see the difference; a payer's name is only text.
        for (who, path) in [(&shop.mine, format!("/mine/orders/{id}")), (&shop.finance, format!("/admin/payments/{id}"))] {
            let (status, shown) = page(&app, who, Method::GET, &path, "").await;
            assert_eq!(status, 200, "{path}");
            assert!(shown.contains("¥1,000.00") && shown.contains("¥280.00"), "{path}");
            assert!(!shown.contains("<script>alert"), "{path}");
        }
        let (_, shown) = page(&app, &shop.finance, Method::GET, "/admin/payments/received", "").await;
        assert!(shown.contains("BOC-0001") && !shown.contains("<script>alert"));
        let rest = service::confirm_payment(&app, &shop.finance, &id, &receipt("280", "BOC-0002", "北矿")).await.unwrap();
        assert_eq!((rest.balance, rest.order.state), (Balance::Exact, OrderState::Delivered));
        let detail = detail(&app, &shop.finance, Side::Platform, &id).await.unwrap();
        assert!(detail.payments.len() == 2 && detail.payments.iter().all(|(p, _)| p.matched));

        let id = order(&app, &shop, 1).await;
        let typed = receipt("1300", "BOC-0003", "北矿");
        let slip = service::confirm_payment(&app, &shop.finance, &id, &typed).await.unwrap_err();
        assert_eq!((slip.fields[0].code, slip.fields[0].args[0].1.as_str()), ("amount-exceeds-order", "¥20.00"));
        assert_eq!((state(&app, &shop, &id).await, licenses_of(&app, &id).await), (OrderState::AwaitingPayment, 0));
        let meant = ReceiptInput { accept_excess: true, ..typed };
        let over = service::confirm_payment(&app, &shop.finance, &id, &meant).await.unwrap();
        assert_eq!((over.balance, over.order.state), (Balance::Over(2000), OrderState::Delivered));
        assert_eq!(licenses_of(&app, &id).await, 1);
        let id = order(&app, &shop, 1).await;
        let used = service::confirm_payment(&app, &shop.finance, &id, &receipt("1280", "BOC-0001", "北矿")).await.unwrap_err();
        assert_eq!(used.fields[0].code, "bank-serial-used");
        for (amount, serial, payer, fields) in [
            ("", "", "", 3),
            ("-5", "BOC-9", "x", 1),
            ("0", "BOC-9", "x", 1),
            ("1e5", "BOC-9", "x", 1),
            ("99999999999", "BOC-9", "x", 1),
            ("1.005", "BOC-9", "x", 1),
            ("1", "'; DROP TABLE payments; --", "x", 1),
            ("1", "BOC-9", "two\nlines", 1),
            ("1", "BOC-9", &"长".repeat(121), 1),
        ] {
            let error = service::confirm_payment(&app, &shop.finance, &id, &receipt(amount, serial, payer)).await.unwrap_err();
            assert_eq!(error.fields.len(), fields, "{amount} {serial} {payer}: {error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_trial_is_free_and_once() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let place = |nodes: i64| service::place(&app, &shop.mine, PlaceOrder { plan_id: shop.trial.clone(), nodes });
        // The same plan twice is a slip, and so is a price of what is free.
        for (price, code) in [("", "plan-exists"), ("12", "invalid-input")] {
            let form = PlanForm { kind: "trial".into(), price: price.into(), trial_days: "14".into(), trial_nodes: "2".into() };
            assert_eq!(plans::add(&app, &shop.vendor, APP.into(), &form).await.unwrap_err().code, code, "{price}");
        }
        assert_eq!(place(3).await.unwrap_err().fields[0].code, "trial-nodes");
        // A double click is one order.
        let (a, b) = tokio::join!(place(2), place(2));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a, b);
        assert_eq!((state(&app, &shop, &a).await, licenses_of(&app, &a).await), (OrderState::Delivered, 1));
        assert_eq!(place(1).await.unwrap_err().code, "trial-used");
        // Nor is it offered again; an address that names no plan leads to the plans.
        let form = format!("/apps/acme/{APP}/order?plan={}", shop.trial);
        for (path, button) in [(form, "type=\"submit\">Start the trial"), (format!("/apps/acme/{APP}"), ">Start the trial</a>")] {
            let (status, shown) = page(&app, &shop.mine, Method::GET, &path, "").await;
            assert!(status == 200 && !shown.contains(button) && shown.contains("already had its trial"), "{path}");
        }
        assert_eq!(page(&app, &shop.mine, Method::GET, &format!("/apps/acme/{APP}/order"), "").await.0, 303);
        assert_eq!(page(&app, &shop.mine, Method::GET, "/apps/acme/none/order", "").await.0, 404);
        app.clock.advance(TimeDelta::days(400));
        assert_eq!(place(2).await.unwrap_err().code, "trial-used");
        let path = format!("/apps/acme/{APP}/order");
        let (status, shown) = page(&app, &shop.mine, Method::POST, &path, &format!("plan={}&nodes=2", shop.trial)).await;
        assert_eq!(status, 422);
        assert!(shown.contains("already had its trial"));
        let (status, _) = page(&app, &shop.mine, Method::POST, &path, &format!("plan={}&nodes=%3Cscript%3E", shop.subscription)).await;
        assert_eq!(status, 422);
        let (status, shown) = page(&app, &shop.mine, Method::GET, &format!("{path}?plan={}&nodes=3", shop.subscription), "").await;
        assert_eq!(status, 200);
        assert!(shown.contains("¥3,840.00"));
    })
    .await;
}

#[tokio::test]
async fn the_same_beside_an_unpaid_order_is_asked_about() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let first = order(&app, &shop, 2).await;
        let number = detail(&app, &shop.mine, Side::Buyer, &first).await.unwrap().order.number;
        let path = format!("/apps/acme/{APP}/order");
        let post = async |form: String| page(&app, &shop.mine, Method::POST, &path, &form).await;
        let same = format!("plan={}&nodes=2", shop.subscription);
        assert_eq!(post(same.clone()).await.0, 303, "a double click leads to the order that is there");
        app.clock.advance(TimeDelta::seconds(6));
        let (status, asked) = post(same.clone()).await;
        assert!(status == 409 && asked.contains(&number) && asked.contains("Order once more"), "{asked}");
        let count = async || service::list_bought(&app, &shop.mine, None).await.unwrap().len();
        assert_eq!(count().await, 1);
        assert_eq!(post(format!("{same}&beside=PH-20250101-0001")).await.0, 409, "another order than the one that was shown");
        assert_eq!(post(format!("{same}&beside={number}")).await.0, 303);
        assert_eq!(count().await, 2);
        app.clock.advance(TimeDelta::seconds(6));
        assert_eq!(post(format!("plan={}&nodes=3", shop.subscription)).await.0, 303, "another number of nodes is another order");
    })
    .await;
}

#[tokio::test]
async fn finance_finds_one_order_before_it_books() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let (first, second) = (order(&app, &shop, 1).await, order(&app, &shop, 2).await);
        let finance = &shop.finance;
        let found = async |q: &str| -> Vec<String> {
            let awaiting = service::list_awaiting(&app, finance, q, None).await.unwrap();
            awaiting.into_iter().map(|a| a.line.order.id).collect()
        };
        let both = [first.clone(), second.clone()];
        for q in ["mine 公司", "公司", "MINE LTD", "mine"] {
            assert_eq!(found(q).await, both, "{q}");
        }
        assert_eq!(found("￥２,５６０").await, std::slice::from_ref(&second), "by amount");
        assert_eq!(found("PH-20260101-0001").await, std::slice::from_ref(&first));
        for q in ["北山煤矿", "%", "_", "公司公司", "12.80"] {
            assert!(found(q).await.is_empty(), "{q}");
        }
        // A receipt can be booked from the list only where it is plain for which order.
        let form = "name=\"bank_serial\"";
        for (q, plain) in [("", false), ("mine", false), ("%E5%8C%97%E5%B1%B1", false), ("2560", true)] {
            let (status, shown) = page(&app, finance, Method::GET, &format!("/admin/payments?q={q}"), "").await;
            assert_eq!((status, shown.contains(form)), (200, plain), "{q}");
        }
        let (_, shown) = page(&app, finance, Method::GET, "/admin/payments?q=2560", "").await;
        assert!(shown.contains("|Book {amount} yuan from “{payer}” for order PH-20260101-0002 of mine Ltd, which owes ¥2,560.00"));
        assert!(!shown.contains(&first));
        assert_eq!(shown.matches("id=\"confirm\"").count(), 1, "the script finds the dialog");
    })
    .await;
}

#[tokio::test]
async fn finance_cancels_what_is_paid_in_part_and_both_sides_read_why() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let id = order(&app, &shop, 1).await;
        let reason = "买方改订永久授权";
        let none = cancel::by_finance(&app, &shop.finance, &id, reason).await.unwrap_err();
        assert_eq!((none.code, state(&app, &shop, &id).await), ("order-without-payments", OrderState::AwaitingPayment));
        service::confirm_payment(&app, &shop.finance, &id, &receipt("1,000.00", "BOC-0001", "北矿")).await.unwrap();
        for who in [&shop.mine, &shop.vendor] {
            assert_eq!(cancel::by_finance(&app, who, &id, reason).await.unwrap_err().kind, Kind::Forbidden);
        }
        let path = format!("/admin/payments/{id}");
        assert_eq!(page(&app, &shop.finance, Method::POST, &format!("{path}/cancel"), "reason=").await.0, 422);
        let (order, owed) = cancel::by_finance(&app, &shop.finance, &id, reason).await.unwrap();
        assert_eq!((owed, state(&app, &shop, &order.id).await), (100_000, OrderState::Cancelled));
        for (who, path) in
            [(&shop.mine, format!("/mine/orders/{id}")), (&shop.finance, path), (&shop.vendor, format!("/vendor/orders/{id}"))]
        {
            let (status, shown) = page(&app, who, Method::GET, &path, "").await;
            assert!(status == 200 && shown.contains(reason) && shown.contains("¥1,000.00 had arrived"), "{path}");
        }
        let late = service::confirm_payment(&app, &shop.finance, &id, &receipt("280", "BOC-2", "北矿")).await.unwrap_err();
        assert_eq!(late.code, "order-not-awaiting-payment");
        assert_eq!(cancel::by_finance(&app, &shop.finance, &id, reason).await.unwrap_err().code, "order-state");
        assert_eq!(licenses_of(&app, &id).await, 0);
    })
    .await;
}

#[tokio::test]
async fn orders_belong_to_their_two_sides() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let id = order(&app, &shop, 1).await;
        let other = testing::operator(&app, "other").await;
        let rival = testing::vendor(&app, "rival").await;
        let error = detail(&app, &other, Side::Buyer, &id).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::NotFound, "order"));
        assert_eq!(detail(&app, &rival, Side::Vendor, &id).await.unwrap_err().kind, Kind::NotFound);
        assert_eq!(cancel::by_buyer(&app, &other, &id).await.unwrap_err().kind, Kind::NotFound);
        assert_eq!(page(&app, &other, Method::GET, &format!("/mine/orders/{id}"), "").await.0, 404);
        assert!(service::list_bought(&app, &other, None).await.unwrap().is_empty());
        assert!(service::list_sold(&app, &rival, None).await.unwrap().is_empty());
        for (who, path) in [(&shop.mine, "/mine/orders"), (&shop.vendor, "/vendor/orders"), (&shop.finance, "/admin/payments")] {
            let (status, shown) = page(&app, who, Method::GET, path, "").await;
            assert_eq!(status, 200, "{path}");
            assert!(shown.contains("PH-20260101-0001"), "{path}");
        }
        assert_eq!(page(&app, &shop.vendor, Method::GET, &format!("/vendor/orders/{id}"), "").await.0, 200);
        let deployer = testing::member(&app, &shop.mine.person().unwrap().organization_id, Role::Deployer, "d@mine.example").await;
        let refused = service::place(&app, &deployer, PlaceOrder { plan_id: shop.subscription.clone(), nodes: 1 }).await.unwrap_err();
        assert_eq!(refused.code, "not-permitted");
        // Search by number and reference; hostile patterns find nothing they should not.
        let found = service::list_awaiting(&app, &shop.finance, "0101-0001", None).await.unwrap();
        assert_eq!(found.len(), 1);
        let reference = found[0].line.order.reference.to_lowercase();
        assert_eq!(service::list_awaiting(&app, &shop.finance, &reference, None).await.unwrap().len(), 1);
        assert!(service::list_awaiting(&app, &shop.finance, "NOSUCH", None).await.unwrap().is_empty());
        cancel::by_buyer(&app, &shop.mine, &id).await.unwrap();
        assert_eq!(cancel::by_buyer(&app, &shop.mine, &id).await.unwrap_err().code, "order-state");
        assert_eq!(state(&app, &shop, &id).await, OrderState::Cancelled);
        assert!(service::list_awaiting(&app, &shop.finance, "", None).await.unwrap().is_empty());
        let next = order(&app, &shop, 1).await;
        let detail = detail(&app, &shop.mine, Side::Buyer, &next).await.unwrap();
        assert_eq!(detail.order.number, "PH-20260101-0002");
        assert_eq!(service::place(&app, &shop.mine, PlaceOrder { plan_id: "pln_none".into(), nodes: 1 }).await.unwrap_err().code, "plan");
    })
    .await;
}
