//! Schemas of the domain's enums: the words that a field can be, from the enum itself.

use serde_json::Value;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type};

use crate::alarm_management::model::{ActKind, AlarmState, Verdict};
use crate::catalog::model::{ListingState, PlanKind};
use crate::evaluation::model::Metric;
use crate::fleet::model::{DeploymentState, NodeState};
use crate::license::model::{Enforcement, LicenseState};
use crate::moderation::model::{CaseState, ModerationDecision};
use crate::release::difference::{Flag, Measure};
use crate::release::model::{Channel, ReleaseState};
use crate::telemetry::model::Level;
use crate::telemetry::pictures::{Privacy, Whole};
use crate::telemetry::sources::SourceState;
use crate::trade::model::OrderState;

macro_rules! words {
    ($($name:ident of $words:ty),+ $(,)?) => {
        $(pub fn $name() -> Object {
            one_of(<$words>::ALL.iter().map(|word| word.as_str()))
        })+
    };
}

words! {
    listing_state of ListingState,
    plan_kind of PlanKind,
    node_state of NodeState,
    deployment_state of DeploymentState,
    license_state of LicenseState,
    enforcement of Enforcement,
    case_state of CaseState,
    decision of ModerationDecision,
    flag of Flag,
    measure of Measure,
    metric of Metric,
    channel of Channel,
    release_state of ReleaseState,
    level of Level,
    alarm_state of AlarmState,
    act_kind of ActKind,
    verdict of Verdict,
    picture_privacy of Privacy,
    whole_picture of Whole,
    order_state of OrderState,
    source_state of SourceState,
}

/// Several of them.
pub fn flags() -> Array {
    ArrayBuilder::new().items(flag()).build()
}

/// A verdict, or null where nobody has given one.
pub fn verdict_or_null() -> Object {
    let words = Verdict::ALL.iter().map(|word| Value::from(word.as_str())).chain([Value::Null]);
    ObjectBuilder::new().schema_type(SchemaType::Array(vec![Type::String, Type::Null])).enum_values(Some(words)).build()
}

fn one_of(words: impl Iterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}
