//! The parts of onnx.proto3 that models are damaged in: field numbers, small messages, and how to get at a field.

use super::{
    Rng,
    wire::{Message, Value},
};

pub const FLOAT: u64 = 1;
pub const INT64: u64 = 7;
pub const BOOL: u64 = 9;

pub mod model {
    pub const IR_VERSION: u64 = 1;
    pub const DOMAIN: u64 = 4;
    pub const GRAPH: u64 = 7;
    pub const OPSET: u64 = 8;
    pub const METADATA: u64 = 14;
    pub const FUNCTION: u64 = 25;
}
pub mod graph {
    pub const NODE: u64 = 1;
    pub const NAME: u64 = 2;
    pub const INITIALIZER: u64 = 5;
    pub const INPUT: u64 = 11;
    pub const OUTPUT: u64 = 12;
    pub const VALUE_INFO: u64 = 13;
    pub const SPARSE: u64 = 15;
}
pub mod node {
    pub const INPUT: u64 = 1;
    pub const OUTPUT: u64 = 2;
    pub const OPERATOR: u64 = 4;
    pub const ATTRIBUTE: u64 = 5;
    pub const DOMAIN: u64 = 7;
}
pub mod tensor {
    pub const DIMS: u64 = 1;
    pub const TYPE: u64 = 2;
    pub const FLOATS: u64 = 4;
    pub const NAME: u64 = 8;
    pub const RAW: u64 = 9;
    pub const EXTERNAL: u64 = 13;
    pub const LOCATION: u64 = 14;
}

/// The field with this number gets this value, or comes.
pub fn set(message: &mut Message, number: u64, value: u64) {
    message.remove(number);
    message.put_number(number, value);
}

/// The first field with this number gets these bytes, or comes.
pub fn rename(message: &mut Message, number: u64, text: &[u8]) {
    match message.places(number).first() {
        Some(&at) => message.0[at].value = Value::Bytes(text.to_vec()),
        None => message.put(number, text),
    }
}

pub fn a_field(message: &mut Message, rng: &mut Rng, number: u64, change: impl Fn(&mut Message, usize)) {
    let places = message.places(number);
    if !places.is_empty() {
        change(message, *rng.pick(&places));
    }
}

pub fn a_node(graph: &mut Message, rng: &mut Rng, change: impl Fn(&mut Message, &mut Rng)) {
    let places = graph.places(graph::NODE);
    if !places.is_empty() {
        let at = *rng.pick(&places);
        graph.edit_at(at, &mut |node| change(node, rng));
    }
}

/// An initializer, or the tensor of a `Constant`.
pub fn a_tensor(graph: &mut Message, rng: &mut Rng, change: impl Fn(&mut Message, &mut Rng)) {
    let places = graph.places(graph::INITIALIZER);
    if !places.is_empty() {
        let at = *rng.pick(&places);
        graph.edit_at(at, &mut |tensor| change(tensor, rng));
    }
}

pub fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<Message>) -> Message {
    let mut node = Message::default();
    for name in inputs {
        node.put(node::INPUT, *name);
    }
    for name in outputs {
        node.put(node::OUTPUT, *name);
    }
    node.put(node::OPERATOR, operator);
    for attribute in attributes {
        node.put(node::ATTRIBUTE, attribute);
    }
    node
}

pub fn int(name: &str, value: i64) -> Message {
    Message::default().with(1, name).with_number(3, value.cast_unsigned()).with_number(20, 2)
}

pub fn subgraph(name: &str, graph: Message) -> Message {
    Message::default().with(1, name).with(6, graph).with_number(20, 5)
}

pub fn numbers(name: &str, dims: &[i64], values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    constant(name, INT64, dims, raw)
}

pub fn constant(name: &str, kind: u64, dims: &[i64], raw: Vec<u8>) -> Message {
    let mut made = Message::default();
    for d in dims {
        made.put_number(tensor::DIMS, d.cast_unsigned());
    }
    made.with_number(tensor::TYPE, kind).with(tensor::NAME, name).with(tensor::RAW, raw)
}

/// A value with an element type, its shape open for `None`.
pub fn value(name: &str, kind: u64, dims: Option<&[i64]>) -> Message {
    let mut of = Message::default().with_number(1, kind);
    if let Some(dims) = dims {
        let mut shape = Message::default();
        for d in dims {
            shape.put(1, Message::default().with_number(1, d.cast_unsigned()));
        }
        of.put(2, shape);
    }
    Message::default().with(1, name).with(2, Message::default().with(1, of))
}

pub fn text_entry(key: &str, value: &str) -> Message {
    Message::default().with(1, key).with(2, value)
}

/// Gives the graph's first output another source: returns the name that its nodes now write, and the output's own.
pub fn detached(graph: &mut Message) -> (String, String) {
    let first = graph.bytes(graph::OUTPUT).and_then(Message::parse).and_then(|v| v.bytes(1).map(<[u8]>::to_vec));
    let outer = String::from_utf8(first.unwrap()).unwrap();
    let inner = format!("{outer}-inner");
    graph.edit_all(graph::NODE, &mut |node| {
        for field in node.0.iter_mut().filter(|f| f.number == node::INPUT || f.number == node::OUTPUT) {
            if field.value == Value::Bytes(outer.clone().into()) {
                field.value = Value::Bytes(inner.clone().into());
            }
        }
    });
    (inner, outer)
}
