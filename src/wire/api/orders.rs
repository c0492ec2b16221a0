//! Orders: those of a mine, and those placed with a developer.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::once::{Asked, Nothing, answer, once};
use super::{Before, Both, Listed, Made, words};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, OrgKind};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::catalog::model::PlanKind;
use crate::http::api::{ApiResult, tagged};
use crate::http::extract::ApiQuery;
use crate::trade::cancel::by_buyer_in;
use crate::trade::model::{Order as Row, OrderLine, OrderState, PlaceOrder};
use crate::trade::service::{self, Side};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/orders", web::get().to(list))
        .route("/api/v1/orders", web::post().to(place))
        .route("/api/v1/orders/{id}", web::get().to(show))
        .route("/api/v1/orders/{id}/cancel", web::post().to(cancel));
}

/// An order.
#[derive(Serialize, ToSchema)]
pub struct Order {
    pub id: String,
    /// For people: `PH-20261123-0007`.
    pub number: String,
    #[schema(schema_with = words::order_state)]
    pub state: OrderState,
    /// Id of the listing.
    pub listing: String,
    /// Title of the app.
    pub app: Both,
    /// The other side: for a mine who sells, for a developer who buys.
    pub other: Both,
    /// Plan ordered.
    pub plan: String,
    #[schema(schema_with = words::plan_kind)]
    pub plan_kind: PlanKind,
    pub nodes: i64,
    /// The plan's price per node when ordered, in fen.
    pub unit_price_fen: i64,
    /// To be paid, in fen.
    pub amount_fen: i64,
    /// The text that the buyer names in the transfer.
    pub reference: String,
    #[schema(value_type = String, format = DateTime)]
    pub placed_at: Timestamp,
    /// Last change of state.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Order {
    fn of(order: Row, app: Both, other: Both) -> Self {
        Self {
            id: order.id,
            number: order.number,
            state: order.state,
            listing: order.app_id,
            app,
            other,
            plan: order.plan_id,
            plan_kind: order.plan_kind,
            nodes: order.nodes,
            unit_price_fen: order.unit_price_fen,
            amount_fen: order.amount_fen,
            reference: order.reference,
            placed_at: order.placed_at,
            updated_at: order.updated_at,
        }
    }
}

impl From<OrderLine> for Order {
    fn from(line: OrderLine) -> Self {
        Self::of(line.order, line.app.into(), line.other.into())
    }
}

/// An order with what has become of it.
#[derive(Serialize, ToSchema)]
pub struct OrderDetail {
    #[serde(flatten)]
    pub order: Order,
    /// All that came in for it, in fen.
    pub received_fen: i64,
    /// Its licence, once it is issued.
    pub license: Option<String>,
}

/// The side from which the asker's organisation reads its orders: a mine buys, a developer sells; whoever is neither is refused as a buyer.
fn side(actor: &Actor) -> Side {
    if actor.as_person().is_some_and(|person| person.kind == OrgKind::Vendor) { Side::Vendor } else { Side::Buyer }
}

/// Orders of the mine, or placed with the developer
#[utoipa::path(get, path = "/api/v1/orders", tag = "orders", params(Before),
    responses((status = 200, description = "A page of orders", body = Listed<Order>)))]
pub(super) async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: ApiQuery<Before>) -> ApiResult {
    let before = query.0.before;
    let rows = match side(&actor) {
        Side::Vendor => service::list_sold(&app, &actor, before).await?,
        Side::Buyer | Side::Platform => service::list_bought(&app, &actor, before).await?,
    };
    tagged(&req, &Listed::of(rows, service::PAGE, "/api/v1/orders", |line| line.order.id.clone(), Order::from))
}

/// One order of the mine, or placed with the developer
#[utoipa::path(get, path = "/api/v1/orders/{id}", tag = "orders", params(("id" = String, Path, description = "Id of the order")),
    responses((status = 200, description = "The order", body = OrderDetail)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> ApiResult {
    let read = move |conn: &mut Conn| -> Result<OrderDetail> {
        let side = side(&actor);
        let found = service::detail_in(conn, &actor, side, &id)?;
        let other = if side == Side::Vendor { found.buyer } else { found.vendor };
        let title = Both::of(found.app.title_zh, found.app.title_en);
        let order = Order::of(found.order, title, Both::of(other.name_zh, other.name_en));
        Ok(OrderDetail { order, received_fen: found.received_fen, license: found.license.map(|(id, _)| id) })
    };
    tagged(&req, &app.db.read(read).await?)
}

/// An order to be placed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// Id of a plan of the listing.
    pub plan: String,
    #[schema(minimum = 1, maximum = 10_000)]
    pub nodes: i64,
}

/// Places an order
///
/// What costs nothing is delivered at once. Without a key the same person ordering the same within five seconds gets the order that is there,
/// as on the site.
#[utoipa::path(post, path = "/api/v1/orders", tag = "orders", request_body = NewOrder,
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text of 1 to 255 visible characters: the same request with the same key is made once in 24 hours")),
    responses((status = 201, description = "It is placed", body = Made)))]
pub(super) async fn place(app: Data<App>, actor: Actor, asked: Asked<NewOrder>) -> ApiResult {
    let Asked { input: NewOrder { plan, nodes }, key } = asked;
    let (composed, input, keyed) = ((**app).clone(), PlaceOrder { plan_id: plan, nodes }, key.is_some());
    let place = move |c: &mut Change<'_>| {
        let id = service::place_in(c, &composed, &input, keyed)?;
        answer(StatusCode::CREATED, &Made { id })
    };
    once(&app, &actor, Action::PlaceOrders, key, place).await
}

/// Cancels an order for which no money has come in
#[utoipa::path(post, path = "/api/v1/orders/{id}/cancel", tag = "orders", request_body = Option<Nothing>,
    params(
        ("id" = String, Path, description = "Id of the order"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for an order"),
    ),
    responses((status = 200, description = "It is cancelled", body = Made)))]
pub(super) async fn cancel(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Nothing>) -> ApiResult {
    let id = id.into_inner();
    let cancel = move |c: &mut Change<'_>| {
        by_buyer_in(c, &id)?;
        answer(StatusCode::OK, &Made { id: id.clone() })
    };
    once(&app, &actor, Action::PlaceOrders, asked.key, cancel).await
}
