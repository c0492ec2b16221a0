//! What is done to a model: the list of kinds.

use super::{
    ODD, Rng, graphs,
    noise::{self, wild},
    onnx::{FLOAT, a_field, a_node, a_tensor, graph, int, model, node, rename, set, tensor, text_entry, value},
    wire::{Message, Value},
};
use graphs::{dims, external, fill, shape, weights};

/// A way to damage a model.
#[derive(Clone, Copy)]
pub enum Damage {
    /// Its bytes, whatever they mean.
    Bytes(fn(&mut Vec<u8>, &mut Rng)),
    /// Its fields.
    Tree(fn(&mut Message, &mut Rng)),
    /// Its graph's fields.
    Graph(fn(&mut Message, &mut Rng)),
}

use Damage::{Bytes, Graph, Tree};

/// All kinds, by name.
pub const KINDS: &[(&str, Damage)] = &[
    ("bit-flipped", Bytes(|b, rng| noise::flip(b, rng, 1))),
    ("bits-flipped", Bytes(|b, rng| noise::flip_share(b, rng))),
    ("start-flipped", Bytes(|b, rng| noise::flip(&mut b[..64], rng, 3))),
    ("cut-off", Bytes(|b, rng| b.truncate(rng.below(b.len())))),
    ("bytes-inserted", Bytes(noise::bytes_inserted)),
    ("chunk-removed", Bytes(noise::chunk_removed)),
    ("chunk-repeated", Bytes(noise::chunk_repeated)),
    ("zeroed", Bytes(|b, rng| noise::zeroed(b, rng))),
    ("length-huge", Bytes(noise::length_huge)),
    ("varint-endless", Bytes(|b, rng| noise::overwrite(b, rng, &[0xff; 16]))),
    ("tail-appended", Bytes(|b, rng| b.extend(rng.bytes(300)))),
    ("twice", Bytes(|b, _| b.extend_from_within(..))),
    ("noise", Bytes(|b, rng| *b = rng.bytes(4_096))),
    ("empty", Bytes(|b, _| b.clear())),
    ("fields-damaged", Tree(|m, rng| (0..=rng.below(4)).for_each(|_| wild(m, rng, 0)))),
    ("fields-damaged-deep", Tree(|m, rng| (0..20).for_each(|_| wild(m, rng, 0)))),
    ("ir-version", Tree(|m, rng| set(m, model::IR_VERSION, *rng.pick(&ODD)))),
    ("ir-version-gone", Tree(|m, _| m.remove(model::IR_VERSION))),
    ("opset-version", Tree(|m, rng| m.edit_all(model::OPSET, &mut |o| set(o, 2, *rng.pick(&[0, 1, 5, 9_999, u64::MAX]))))),
    ("opset-domain", Tree(|m, _| m.edit_all(model::OPSET, &mut |o| rename(o, 1, b"com.example.none")))),
    ("opset-gone", Tree(|m, _| m.remove(model::OPSET))),
    ("opset-not-utf8", Tree(|m, _| m.edit_all(model::OPSET, &mut |o| rename(o, 1, b"\xff\xfe\xfd")))),
    ("graph-gone", Tree(|m, _| m.remove(model::GRAPH))),
    ("graph-twice", Tree(|m, _| m.0.extend_from_within(..))),
    ("metadata-many", Tree(|m, _| (0..50_000).for_each(|n| m.put(model::METADATA, text_entry(&format!("k{n}"), "v"))))),
    ("metadata-long", Tree(|m, _| m.put(model::METADATA, text_entry("k", &"v".repeat(4 << 20))))),
    ("domain-not-utf8", Tree(|m, _| rename(m, model::DOMAIN, b"\xc3\x28\xa0\xa1"))),
    ("function-recursive", Tree(|m, _| graphs::functions(m, 1, 1))),
    ("functions-laughing", Tree(|m, rng| graphs::functions(m, 8 + rng.below(12), 8))),
    ("operator-unknown", Graph(|g, rng| a_node(g, rng, |n, _| rename(n, node::OPERATOR, b"LaunchMissiles")))),
    ("operator-domain", Graph(|g, rng| a_node(g, rng, |n, _| rename(n, node::DOMAIN, b"com.example.none")))),
    ("operator-swapped", Graph(|g, rng| a_node(g, rng, graphs::operator_swapped))),
    ("operator-not-utf8", Graph(|g, rng| a_node(g, rng, |n, _| rename(n, node::OPERATOR, b"\xff\x00Add")))),
    ("operator-long", Graph(|g, rng| a_node(g, rng, |n, _| rename(n, node::OPERATOR, &vec![b'A'; 100_000])))),
    ("node-gone", Graph(|g, rng| a_field(g, rng, graph::NODE, |g, at| drop(g.0.remove(at))))),
    ("node-twice", Graph(|g, rng| a_field(g, rng, graph::NODE, |g, at| g.0.insert(at, g.0[at].clone())))),
    ("nodes-reversed", Graph(|g, _| g.0.reverse())),
    ("nodes-many", Graph(|g, _| graphs::chain(g, 5_000))),
    ("nodes-none", Graph(|g, _| g.remove(graph::NODE))),
    ("cycle", Graph(graphs::cycle)),
    ("self-loop", Graph(|g, rng| a_node(g, rng, graphs::self_loop))),
    ("input-unknown", Graph(|g, rng| a_node(g, rng, |n, _| rename(n, node::INPUT, b"nowhere")))),
    ("inputs-none", Graph(|g, rng| a_node(g, rng, |n, _| n.remove(node::INPUT)))),
    ("inputs-many", Graph(|g, rng| a_node(g, rng, |n, _| (0..10_000).for_each(|_| n.put(node::INPUT, "x"))))),
    ("attribute-numbers", Graph(|g, rng| a_node(g, rng, graphs::attribute_numbers))),
    ("attribute-type", Graph(|g, rng| a_node(g, rng, |n, rng| n.edit_all(node::ATTRIBUTE, &mut |a| set(a, 20, *rng.pick(&ODD)))))),
    ("attributes-none", Graph(|g, rng| a_node(g, rng, |n, _| n.remove(node::ATTRIBUTE)))),
    ("attributes-many", Graph(|g, rng| a_node(g, rng, |n, _| (0..10_000).for_each(|i| n.put(node::ATTRIBUTE, int("axis", i)))))),
    ("initializer-gone", Graph(|g, rng| a_field(g, rng, graph::INITIALIZER, |g, at| drop(g.0.remove(at))))),
    ("initializer-twice", Graph(|g, rng| a_field(g, rng, graph::INITIALIZER, |g, at| g.0.insert(at, g.0[at].clone())))),
    ("initializers-none", Graph(|g, _| g.remove(graph::INITIALIZER))),
    ("dims-huge", Graph(|g, rng| a_tensor(g, rng, |t, _| dims(t, &[1 << 40])))),
    ("dims-overflowing", Graph(|g, rng| a_tensor(g, rng, |t, _| dims(t, &[1 << 32, 1 << 32, 2])))),
    ("dims-negative", Graph(|g, rng| a_tensor(g, rng, |t, _| dims(t, &[-1, -4])))),
    ("dims-zero", Graph(|g, rng| a_tensor(g, rng, |t, _| dims(t, &[0])))),
    ("dims-many", Graph(|g, rng| a_tensor(g, rng, |t, _| dims(t, &vec![1; 10_000])))),
    ("dims-one-more", Graph(|g, rng| a_tensor(g, rng, graphs::dims_one_more))),
    ("tensor-type", Graph(|g, rng| a_tensor(g, rng, |t, rng| set(t, tensor::TYPE, *rng.pick(&[0, 2, 7, 8, 11, 16, 23, 999, u64::MAX]))))),
    ("weights-cut", Graph(|g, rng| a_tensor(g, rng, |t, rng| weights(t, |raw| raw.truncate(rng.below(raw.len())))))),
    ("weights-double", Graph(|g, rng| a_tensor(g, rng, |t, _| (0..1_000).for_each(|_| t.push(tensor::FLOATS, Value::Fixed32([1; 4])))))),
    ("weights-nan", Graph(|g, _| fill(g, f32::NAN))),
    ("weights-infinite", Graph(|g, _| fill(g, f32::INFINITY))),
    ("weights-largest", Graph(|g, _| fill(g, f32::MAX))),
    ("weights-tiny", Graph(|g, _| fill(g, f32::from_bits(1)))),
    ("name-not-utf8", Graph(|g, rng| a_tensor(g, rng, |t, _| rename(t, tensor::NAME, b"\xf0\x28\x8c\xbc")))),
    ("name-long", Graph(|g, _| rename(g, graph::NAME, &vec![b'n'; 2 << 20]))),
    ("name-null", Graph(|g, _| rename(g, graph::NAME, b"a\0b\n\x1b[31m"))),
    ("external-parent", Graph(|g, rng| a_tensor(g, rng, |t, _| external(t, &[("location", "../../../../etc/passwd")])))),
    ("external-absolute", Graph(|g, rng| a_tensor(g, rng, |t, _| external(t, &[("location", "/etc/passwd")])))),
    ("external-windows", Graph(|g, rng| a_tensor(g, rng, |t, _| external(t, &[("location", "C:\\windows\\win.ini")])))),
    ("external-missing", Graph(|g, rng| a_tensor(g, rng, |t, _| external(t, &[("location", "weights.bin")])))),
    ("external-empty", Graph(|g, rng| a_tensor(g, rng, |t, _| external(t, &[("location", "")])))),
    ("external-folder", Graph(|g, rng| a_tensor(g, rng, |t, _| external(t, &[("location", "golden")])))),
    ("external-null", Graph(|g, rng| a_tensor(g, rng, |t, _| external(t, &[("location", "app.yaml\0/../x")])))),
    ("external-self", Graph(|g, rng| a_tensor(g, rng, |t, _| external(t, &[("location", "model.onnx"), ("offset", "0")])))),
    ("external-offset", Graph(|g, rng| a_tensor(g, rng, graphs::external_offset))),
    ("external-many", Graph(|g, rng| a_tensor(g, rng, |t, _| external(t, &[("location", "a"), ("location", "b")].repeat(15_000))))),
    ("sparse", Graph(|g, rng| a_field(g, rng, graph::INITIALIZER, graphs::sparse))),
    ("input-huge", Graph(|g, _| shape(g, graph::INPUT, &[1 << 40, 1 << 20]))),
    ("input-negative", Graph(|g, _| shape(g, graph::INPUT, &[1, -7]))),
    ("input-zero", Graph(|g, _| shape(g, graph::INPUT, &[0, 0]))),
    ("input-many", Graph(|g, _| shape(g, graph::INPUT, &vec![1; 5_000]))),
    ("input-sequence", Graph(|g, rng| graphs::a_type(g, rng, graph::INPUT))),
    ("input-type", Graph(|g, rng| graphs::element(g, graph::INPUT, *rng.pick(&[0, 8, 10, 14, 16, 999])))),
    ("input-gone", Graph(|g, _| g.remove(graph::INPUT))),
    ("input-more", Graph(|g, _| g.put(graph::INPUT, value("second", FLOAT, Some(&[1, 4]))))),
    ("output-huge", Graph(|g, _| shape(g, graph::OUTPUT, &[1, 1 << 40]))),
    ("output-sequence", Graph(|g, rng| graphs::a_type(g, rng, graph::OUTPUT))),
    ("output-unknown", Graph(|g, _| g.put(graph::OUTPUT, value("nowhere", FLOAT, None)))),
    ("outputs-none", Graph(|g, _| g.remove(graph::OUTPUT))),
    ("outputs-many", Graph(|g, _| g.0.extend(vec![g.0[g.places(graph::OUTPUT)[0]].clone(); 5_000]))),
    ("value-infos-many", Graph(|g, _| (0..100_000).for_each(|_| g.put(graph::VALUE_INFO, Vec::new())))),
    ("subgraphs-few", Graph(|g, _| graphs::deep(g, 8))),
    ("subgraphs-deep", Graph(|g, rng| graphs::deep(g, *rng.pick(&[10, 30, 60, 200])))),
    ("subgraphs-abyss", Graph(|g, _| graphs::deep(g, 1_500))),
    ("loop-endless", Graph(|g, _| graphs::looping(g, 1 << 62, "Mul"))),
    ("loop-negative", Graph(|g, _| graphs::looping(g, -1, "Add"))),
    ("loop-growing", Graph(|g, _| graphs::looping(g, 1 << 40, "Concat"))),
    ("constant-huge", Graph(|g, rng| graphs::bomb(g, rng, "ConstantOfShape"))),
    ("expand-huge", Graph(|g, rng| graphs::bomb(g, rng, "Expand"))),
    ("tile-huge", Graph(|g, rng| graphs::bomb(g, rng, "Tile"))),
    ("reshape-odd", Graph(|g, rng| graphs::bomb(g, rng, "Reshape"))),
    ("range-huge", Graph(graphs::range)),
];

/// The damaged bytes; never those of the model itself.
pub fn apply(damage: Damage, bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut tree = Message::parse(bytes).unwrap();
    let damaged = match damage {
        Bytes(change) => {
            let mut damaged = bytes.to_vec();
            change(&mut damaged, rng);
            damaged
        }
        Tree(change) => {
            change(&mut tree, rng);
            tree.to_bytes()
        }
        Graph(change) => {
            tree.edit_all(model::GRAPH, &mut |g| change(g, rng));
            tree.to_bytes()
        }
    };
    if damaged != bytes {
        return damaged;
    }
    // This model has nothing of the kind.
    loop {
        let mut tree = Message::parse(bytes).unwrap();
        wild(&mut tree, rng, 0);
        let damaged = tree.to_bytes();
        if damaged != bytes {
            return damaged;
        }
    }
}
