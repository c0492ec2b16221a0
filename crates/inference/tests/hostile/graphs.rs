//! Damage to a graph that knows what a graph is.

use super::{
    ODD, Rng,
    onnx::{
        BOOL, FLOAT, INT64, a_field, constant, detached, graph, int, model, node, numbers, rename, set, subgraph, tensor, text_entry, value,
    },
    wire::{Field, Message, Value, varint},
};

pub fn operator_swapped(node: &mut Message, rng: &mut Rng) {
    let other =
        ["Loop", "If", "Scan", "Conv", "MatMul", "Reshape", "Gather", "TopK", "Resize", "Einsum", "LSTM", "StringNormalizer", "Pad"];
    rename(node, node::OPERATOR, rng.pick(&other).as_bytes());
}

pub fn attribute_numbers(node: &mut Message, rng: &mut Rng) {
    node.edit_all(node::ATTRIBUTE, &mut |attribute| {
        for field in &mut attribute.0 {
            match &mut field.value {
                Value::Varint(n) if field.number != 20 => *n = *rng.pick(&ODD),
                Value::Fixed32(b) => *b = f32::NAN.to_le_bytes(),
                // Packed lists of numbers.
                Value::Bytes(b) if field.number == 8 || field.number == 7 => {
                    b.clear();
                    varint(*rng.pick(&ODD), b);
                }
                _ => {}
            }
        }
    });
}

/// The first node reads what the last one writes.
pub fn cycle(graph: &mut Message, _: &mut Rng) {
    let places = graph.places(graph::NODE);
    let (Some(&first), Some(&last)) = (places.first(), places.last()) else { return };
    let mut written = Vec::new();
    graph.edit_at(last, &mut |node| written = node.bytes(node::OUTPUT).unwrap_or_default().to_vec());
    graph.edit_at(first, &mut |node| rename(node, node::INPUT, &written));
}

pub fn self_loop(node: &mut Message, _: &mut Rng) {
    let own = node.bytes(node::OUTPUT).unwrap_or_default().to_vec();
    rename(node, node::INPUT, &own);
}

pub fn chain(graph: &mut Message, length: usize) {
    let (mut from, outer) = detached(graph);
    for n in 0..length {
        let to = if n + 1 == length { outer.clone() } else { format!("chain{n}") };
        graph.put(graph::NODE, node("Neg", &[&from], &[&to], Vec::new()));
        from = to;
    }
}

pub fn dims(tensor: &mut Message, dims: &[i64]) {
    tensor.remove(tensor::DIMS);
    for d in dims {
        tensor.put_number(tensor::DIMS, d.cast_unsigned());
    }
}

pub fn dims_one_more(tensor: &mut Message, rng: &mut Rng) {
    a_field(tensor, rng, tensor::DIMS, |tensor, at| match &mut tensor.0[at].value {
        Value::Varint(n) => *n += 1,
        Value::Bytes(packed) => packed.push(1),
        _ => {}
    });
}

pub fn weights(tensor: &mut Message, mut change: impl FnMut(&mut Vec<u8>)) {
    for field in &mut tensor.0 {
        if let Field { number: tensor::RAW, value: Value::Bytes(raw) } = field
            && !raw.is_empty()
        {
            change(raw);
        }
    }
}

/// Every FP32 weight.
pub fn fill(graph: &mut Message, with: f32) {
    graph.edit_all(graph::INITIALIZER, &mut |tensor| {
        if tensor.0.contains(&Field { number: tensor::TYPE, value: Value::Varint(FLOAT) }) {
            weights(tensor, |raw| raw.chunks_exact_mut(4).for_each(|to| to.copy_from_slice(&with.to_le_bytes())));
        }
    });
}

pub fn external(tensor: &mut Message, entries: &[(&str, &str)]) {
    tensor.remove(tensor::RAW);
    for (key, value) in entries {
        tensor.put(tensor::EXTERNAL, text_entry(key, value));
    }
    set(tensor, tensor::LOCATION, 1);
}

/// Another file of the package as weights.
pub fn external_offset(tensor: &mut Message, rng: &mut Rng) {
    let odd = ["-1", "99999999999999999999", "4096", "1e9", "", "0x10", "18446744073709551615"];
    let (offset, length) = (*rng.pick(&odd), *rng.pick(&odd));
    external(tensor, &[("location", "app.yaml"), ("offset", offset), ("length", length)]);
}

/// An initializer as a sparse one whose indices lie outside of it.
pub fn sparse(graph: &mut Message, at: usize) {
    let mut name = Vec::new();
    graph.edit_at(at, &mut |tensor| name = tensor.bytes(tensor::NAME).unwrap_or_default().to_vec());
    graph.0.remove(at);
    let values = constant(&String::from_utf8_lossy(&name), FLOAT, &[3], [1f32, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect());
    let indices = numbers("", &[3], &[0, 1 << 40, -9]);
    let made = Message::default().with(1, values).with(2, indices).with_number(3, 4);
    graph.put(graph::SPARSE, made);
}

pub fn shape(graph: &mut Message, of: u64, dims: &[i64]) {
    graph.edit_all(of, &mut |info| {
        let name = String::from_utf8_lossy(info.bytes(1).unwrap_or_default()).into_owned();
        *info = value(&name, FLOAT, Some(dims));
    });
}

pub fn element(graph: &mut Message, of: u64, kind: u64) {
    graph.edit_all(of, &mut |info| info.edit_all(2, &mut |types| types.edit_all(1, &mut |tensor| set(tensor, 1, kind))));
}

/// A sequence, a map, an optional, a sparse tensor or nothing instead of a tensor.
pub fn a_type(graph: &mut Message, rng: &mut Rng, of: u64) {
    let tensor = Message::default().with_number(1, FLOAT);
    let inner = Message::default().with(1, tensor.clone());
    let made = match rng.below(5) {
        0 => Message::default().with(4, Message::default().with(1, inner)),
        1 => Message::default().with(5, Message::default().with_number(1, INT64).with(2, inner)),
        2 => Message::default().with(9, Message::default().with(1, inner)),
        3 => Message::default().with(8, tensor),
        _ => Message::default(),
    };
    graph.edit_all(of, &mut |info| {
        info.remove(2);
        info.put(2, made.clone());
    });
}

/// `If` within `If`, each level with the condition of the outermost graph.
pub fn deep(graph: &mut Message, depth: usize) {
    let (inner, outer) = detached(graph);
    graph.put(graph::INITIALIZER, constant("condition", BOOL, &[], vec![1]));
    let mut body = branch(node("Identity", &[&inner], &["leaf"], Vec::new()), "leaf");
    for level in 0..depth {
        let name = format!("level{level}");
        let both = vec![
            subgraph("then_branch", body.clone()),
            subgraph("else_branch", branch(node("Identity", &[&inner], &[&name], Vec::new()), &name)),
        ];
        body = branch(node("If", &["condition"], &[&name], both), &name);
    }
    let both = vec![subgraph("then_branch", body.clone()), subgraph("else_branch", body)];
    graph.put(graph::NODE, node("If", &["condition"], &[&outer], both));
}

pub fn branch(only: Message, output: &str) -> Message {
    Message::default().with(graph::NODE, only).with(graph::NAME, "branch").with(graph::OUTPUT, value(output, FLOAT, None))
}

/// The output goes round and round.
pub fn looping(graph: &mut Message, trips: i64, operator: &str) {
    let (inner, outer) = detached(graph);
    graph.put(graph::INITIALIZER, numbers("trips", &[], &[trips]));
    graph.put(graph::INITIALIZER, constant("again", BOOL, &[], vec![1]));
    let attributes = if operator == "Concat" { vec![int("axis", 0)] } else { Vec::new() };
    let body = Message::default()
        .with(graph::NODE, node("Identity", &["again-in"], &["again-out"], Vec::new()))
        .with(graph::NODE, node(operator, &["x-in", "x-in"], &["x-out"], attributes))
        .with(graph::NAME, "body")
        .with(graph::INPUT, value("trip", INT64, Some(&[])))
        .with(graph::INPUT, value("again-in", BOOL, Some(&[])))
        .with(graph::INPUT, value("x-in", FLOAT, None))
        .with(graph::OUTPUT, value("again-out", BOOL, Some(&[])))
        .with(graph::OUTPUT, value("x-out", FLOAT, None));
    graph.put(graph::NODE, node("Loop", &["trips", "again", &inner], &[&outer], vec![subgraph("body", body)]));
}

/// Something huge out of a few bytes, added to the output.
pub fn bomb(graph: &mut Message, rng: &mut Rng, operator: &str) {
    let shapes: [&[i64]; 6] = [&[1 << 40], &[1 << 31, 4], &[1 << 20, 1 << 20, 1 << 20, 1 << 20], &[-1, -1], &[0], &[300_000_000]];
    let dims = *rng.pick(&shapes);
    let (inner, outer) = detached(graph);
    graph.put(graph::INITIALIZER, numbers("dims", &[i64::try_from(dims.len()).unwrap()], dims));
    let inputs: &[&str] = if operator == "ConstantOfShape" { &["dims"] } else { &[&inner, "dims"] };
    graph.put(graph::NODE, node(operator, inputs, &["much"], Vec::new()));
    graph.put(graph::NODE, node("ReduceMax", &["much"], &["one"], vec![int("keepdims", 0)]));
    graph.put(graph::NODE, node("Add", &[&inner, "one"], &[&outer], Vec::new()));
}

pub fn range(graph: &mut Message, _: &mut Rng) {
    let (inner, outer) = detached(graph);
    for (name, n) in [("start", 0), ("limit", i64::MAX), ("delta", 1)] {
        graph.put(graph::INITIALIZER, numbers(name, &[], &[n]));
    }
    graph.put(graph::NODE, node("Range", &["start", "limit", "delta"], &["much"], Vec::new()));
    graph.put(graph::NODE, node("Cast", &["much"], &["floats"], vec![int("to", 1)]));
    graph.put(graph::NODE, node("ReduceMax", &["floats"], &["one"], vec![int("keepdims", 0)]));
    graph.put(graph::NODE, node("Add", &[&inner, "one"], &[&outer], Vec::new()));
}

/// `levels` functions, each calling the one before `times` times; with one level, itself.
pub fn functions(model: &mut Message, levels: usize, times: usize) {
    let opset = |domain: &str, version| Message::default().with(1, domain).with_number(2, version);
    for level in 0..levels {
        let called = if levels == 1 { "f0".to_owned() } else { format!("f{}", level.max(1) - 1) };
        let mut function = Message::default().with(1, format!("f{level}")).with(4, "x").with(5, "y").with(10, "evil");
        for n in 0..times {
            let (from, to) = (
                if n == 0 { "x".to_owned() } else { format!("t{n}") },
                if n + 1 == times { "y".to_owned() } else { format!("t{}", n + 1) },
            );
            let leaf = level == 0 && levels > 1;
            let mut call = node(if leaf { "Neg" } else { &called }, &[&from], &[&to], Vec::new());
            if !leaf {
                call.put(node::DOMAIN, "evil");
            }
            function.put(7, call);
        }
        function.put(9, opset("", 17));
        function.put(9, opset("evil", 1));
        model.put(model::FUNCTION, function);
    }
    model.put(model::OPSET, opset("evil", 1));
    model.edit_all(model::GRAPH, &mut |graph| {
        let (inner, outer) = detached(graph);
        let mut call = node(&format!("f{}", levels - 1), &[&inner], &[&outer], Vec::new());
        call.put(node::DOMAIN, "evil");
        graph.put(graph::NODE, call);
    });
}
