//! Damage that knows nothing of what it damages.

use super::{
    ODD, Rng,
    wire::{Message, Value, varint},
};

pub fn flip(bytes: &mut [u8], rng: &mut Rng, times: usize) {
    for _ in 0..times.min(bytes.len()) {
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
    }
}

/// A hundredth of the bytes.
pub fn flip_share(bytes: &mut [u8], rng: &mut Rng) {
    flip(bytes, rng, bytes.len() / 100 + 2);
}

pub fn overwrite(bytes: &mut [u8], rng: &mut Rng, with: &[u8]) {
    let start = rng.below(bytes.len());
    for (to, from) in bytes[start..].iter_mut().zip(with) {
        *to = *from;
    }
}

pub fn bytes_inserted(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let (at, more) = (rng.below(bytes.len() + 1), rng.below(40) + 1);
    let new = rng.bytes(more);
    bytes.splice(at..at, new);
}

pub fn chunk_removed(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.below(bytes.len());
    let end = (at + 1 + rng.below(200)).min(bytes.len());
    bytes.drain(at..end);
}

pub fn chunk_repeated(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.below(bytes.len());
    let end = (at + 1 + rng.below(200)).min(bytes.len());
    let chunk = bytes[at..end].to_vec();
    for _ in 0..=rng.below(30) {
        bytes.splice(at..at, chunk.iter().copied());
    }
}

pub fn zeroed(bytes: &mut [u8], rng: &mut Rng) {
    let start = rng.below(bytes.len());
    for byte in bytes[start..].iter_mut().take(100) {
        *byte = 0;
    }
}

/// A number of five bytes where a length may stand.
pub fn length_huge(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let mut huge = Vec::new();
    varint(*rng.pick(&[0xffff_ffff, 1 << 40, u64::MAX, 0x7fff_ffff]), &mut huge);
    let at = rng.below(bytes.len().min(400));
    bytes.splice(at..=at, huge);
}

/// Damages a field somewhere in the tree.
pub fn wild(message: &mut Message, rng: &mut Rng, depth: u32) {
    if message.0.is_empty() {
        return message.put_number(rng.number() % 30 + 1, *rng.pick(&ODD));
    }
    let at = rng.below(message.0.len());
    if depth < 8 && rng.below(4) > 0 && message.edit_at(at, &mut |inner| wild(inner, rng, depth + 1)) {
        return;
    }
    let other = rng.below(message.0.len());
    match rng.below(6) {
        0 => drop(message.0.remove(at)),
        1 => message.0.insert(other, message.0[at].clone()),
        2 => message.0.swap(at, other),
        3 => message.0[at].number = rng.number() % 30 + 1,
        4 => message.0[at].value = Value::Varint(*rng.pick(&ODD)),
        _ => match &mut message.0[at].value {
            Value::Varint(n) => *n = *rng.pick(&ODD),
            Value::Fixed32(b) => *b = f32::NAN.to_le_bytes(),
            Value::Fixed64(b) => *b = [0xff; 8],
            Value::Bytes(b) if b.is_empty() => *b = rng.bytes(9),
            Value::Bytes(b) => match rng.below(4) {
                0 => flip(b, rng, 1),
                1 => b.truncate(rng.below(b.len())),
                2 => *b = b"\xff\xfe\0\x80".to_vec(),
                _ => *b = b.repeat(2 + rng.below(20)),
            },
        },
    }
}
