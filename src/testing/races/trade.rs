//! Orders, receipts and plans.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::{codes, sorted};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{licenses, orders, payments, plans};
use crate::base::error::Result;
use crate::catalog::model::PlanKind;
use crate::catalog::plans::PlanForm;
use crate::release::model::Channel;
use crate::testing::shop::{APP, approve, offer, submitted};
use crate::testing::{WRITERS, assert_intact, each_backend_racing, member, operator, platform, race, vendor};
use crate::trade::model::PlaceOrder;
use crate::trade::service::ReceiptInput;
use crate::{catalog, trade};

/// A listed app with a subscription at 1,280 yuan and a trial; its plans, its vendor, and a mine with a buyer for each writer.
struct Market {
    vendor: Actor,
    buyers: Vec<Actor>,
    finance: Actor,
    subscription: String,
    trial: String,
}

async fn market(app: &App) -> Market {
    let vendor = vendor(app, "acme").await;
    let (_, case) = submitted(app, &vendor, "1.0.0", Channel::Stable).await;
    let plans = offer(app, &vendor, APP).await;
    approve(app, &case).await;
    let mine = operator(app, "mine").await.organization_id().unwrap().to_owned();
    let mut buyers = Vec::new();
    for n in 0..WRITERS {
        buyers.push(member(app, &mine, Role::Owner, &format!("buyer{n}@mine.example")).await);
    }
    Market {
        vendor,
        buyers,
        finance: platform(app, Role::Finance).await,
        subscription: plans[&PlanKind::Subscription].clone(),
        trial: plans[&PlanKind::Trial].clone(),
    }
}

async fn place(app: App, buyer: Actor, plan_id: String) -> Result<String> {
    trade::service::place(&app, &buyer, PlaceOrder { plan_id, nodes: 1 }).await
}

async fn receive(app: App, finance: Actor, order: String, yuan: &str, n: usize) -> Result<trade::service::Receipt> {
    let receipt =
        ReceiptInput { amount: yuan.into(), bank_serial: format!("ICBC-{order}-{n}"), payer: "北矿".into(), accept_excess: false };
    trade::service::confirm_payment(&app, &finance, &order, &ReceiptInput { bank_serial: receipt.bank_serial.replace('_', "-"), ..receipt })
        .await
}

#[tokio::test]
async fn orders_at_once_get_numbers_without_a_gap() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let made = race(|n| place(app.clone(), market.buyers[n].clone(), market.subscription.clone())).await;
        assert_eq!(sorted(made), (WRITERS, codes(&[])));
        let numbers: BTreeSet<String> =
            app.db.read(|conn| Ok(orders::table.select(orders::number).load(conn)?)).await.unwrap().into_iter().collect();
        let wanted: BTreeSet<String> = (1..=WRITERS).map(|n| format!("PH-20260101-{n:04}")).collect();
        assert_eq!(numbers, wanted);
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn of_many_trials_at_once_one_is_given() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let made = race(|n| place(app.clone(), market.buyers[n].clone(), market.trial.clone())).await;
        assert_eq!(sorted(made), (1, codes(&["trial-used"])));
        let issued: i64 = app.db.read(|conn| Ok(licenses::table.count().get_result(conn)?)).await.unwrap();
        assert_eq!(issued, 1);
    })
    .await;
}

#[tokio::test]
async fn of_many_clicks_one_order_comes() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let made = race(|_| place(app.clone(), market.buyers[0].clone(), market.subscription.clone())).await;
        let ids: BTreeSet<String> = made.into_iter().map(Result::unwrap).collect();
        assert_eq!(ids.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn receipts_at_once_pay_an_order_once() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let order = place(app.clone(), market.buyers[0].clone(), market.subscription.clone()).await.unwrap();
        // Together they are exactly what is owed.
        let booked = race(|n| receive(app.clone(), market.finance.clone(), order.clone(), "80", n)).await;
        assert_eq!(sorted(booked), (WRITERS, codes(&[])));
        let id = order.clone();
        let (state, issued): (String, i64) = app
            .db
            .read(move |conn| {
                let state = orders::table.find(&id).select(orders::state).first(conn)?;
                Ok((state, licenses::table.filter(licenses::order_id.eq(&id)).count().get_result(conn)?))
            })
            .await
            .unwrap();
        assert_eq!((state.as_str(), issued), ("delivered", 1));
        // Each alone is all that is owed: one is booked.
        let order = place(app.clone(), market.buyers[1].clone(), market.subscription.clone()).await.unwrap();
        let booked = race(|n| receive(app.clone(), market.finance.clone(), order.clone(), "1280", n)).await;
        assert_eq!(sorted(booked), (1, codes(&["order-not-awaiting-payment"])));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn an_order_is_called_off_or_paid_never_both() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        for round in 0..4 {
            let buyer = market.buyers[round].clone();
            let order = place(app.clone(), buyer.clone(), market.subscription.clone()).await.unwrap();
            race(|n| {
                let (app, buyer, finance, order) = (app.clone(), buyer.clone(), market.finance.clone(), order.clone());
                async move {
                    if n % 2 == 0 {
                        trade::cancel::by_buyer(&app, &buyer, &order).await.is_ok()
                    } else {
                        receive(app, finance, order, "10", n).await.is_ok()
                    }
                }
            })
            .await;
            let (state, came): (String, i64) = app
                .db
                .read(move |conn| {
                    let state = orders::table.find(&order).select(orders::state).first(conn)?;
                    Ok((state, payments::table.filter(payments::order_id.eq(&order)).count().get_result(conn)?))
                })
                .await
                .unwrap();
            assert_eq!(state == "cancelled", came == 0, "{state} with {came} receipts");
        }
    })
    .await;
}

#[tokio::test]
async fn plans_at_once_are_counted() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let add = |price: String| {
            let (app, vendor) = (app.clone(), market.vendor.clone());
            let form = PlanForm { kind: "subscription".into(), price, ..PlanForm::default() };
            async move { catalog::plans::add(&app, &vendor, APP.into(), &form).await }
        };
        assert_eq!(sorted(race(|_| add("99".into())).await), (1, codes(&["plan-exists"])));
        let (_, refused) = sorted(race(|n| add(format!("{}", 100 + n))).await);
        assert_eq!(refused, codes(&["too-many-plans"]));
        let active: i64 = app.db.read(|conn| Ok(plans::table.filter(plans::active.eq(true)).count().get_result(conn)?)).await.unwrap();
        assert_eq!(active, 12);
    })
    .await;
}
