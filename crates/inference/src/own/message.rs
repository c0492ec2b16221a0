//! Tensors as a module reads and writes them: one block of bytes, laid out so that C reads it with two structs and no parser.
//!
//! Little-endian. A header of 16 bytes: `PHT1`, u32 number of tensors, 8 bytes 0. Then 96 bytes for each tensor: u32 place and length of its
//! name, u32 datatype (numbers of `TensorProto.DataType` in onnx.proto3), u32 rank, 8 × i64 dimensions, u32 place and length of its data, 8
//! bytes 0. Places count from the beginning of the block; data lie at multiples of 16. Texts (BYTES) are each a u32 length and UTF-8, as the
//! Open Inference Protocol's binary extension has them.

use crate::{
    engine::{Data, TensorData},
    error::{AppError, Result},
};

const MAGIC: &[u8; 4] = b"PHT1";
const HEADER: usize = 16;
const ENTRY: usize = 96;
const MAX_RANK: usize = 8;
/// Tensors in an answer.
const MAX_TENSORS: usize = 16;
/// Longest name in an answer, in bytes.
const MAX_NAME: usize = 200;

/// The tensors of a message by name.
pub(super) type Tensors = Vec<(String, TensorData)>;

fn bad(why: impl std::fmt::Display) -> AppError {
    AppError::new("wasm-answer", format!("the answer is no message of tensors: {why}"))
}

/// Number of a datatype.
fn code(data: &Data) -> u32 {
    match data {
        Data::F32(_) => 1,
        Data::U8(_) => 2,
        Data::I8(_) => 3,
        Data::U16(_) => 4,
        Data::I16(_) => 5,
        Data::I32(_) => 6,
        Data::I64(_) => 7,
        Data::Text(_) => 8,
        Data::Bool(_) => 9,
        Data::F16(_) => 10,
        Data::F64(_) => 11,
        Data::U32(_) => 12,
        Data::U64(_) => 13,
    }
}

fn append(data: &Data, out: &mut Vec<u8>) {
    macro_rules! each {
        ($v:expr) => {
            $v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()))
        };
    }
    match data {
        Data::F16(v) => each!(v),
        Data::F32(v) => each!(v),
        Data::F64(v) => each!(v),
        Data::I64(v) => each!(v),
        Data::I32(v) => each!(v),
        Data::I16(v) => each!(v),
        Data::I8(v) => each!(v),
        Data::U64(v) => each!(v),
        Data::U32(v) => each!(v),
        Data::U16(v) => each!(v),
        Data::U8(v) => out.extend_from_slice(v),
        Data::Bool(v) => out.extend(v.iter().map(|x| u8::from(*x))),
        Data::Text(v) => {
            for text in v {
                // Texts here are read from pictures and bounded far below 4 GiB.
                out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = at.checked_add(bytes.len()).and_then(|end| block.get_mut(at..end)) {
        place.copy_from_slice(bytes);
    }
}

/// The block of these tensors. Code `wasm-memory` where it has more than `most` bytes, and `tensor-shape` for a tensor of more than eight
/// dimensions.
pub(super) fn write(tensors: &[(String, TensorData)], most: usize) -> Result<Vec<u8>> {
    let mut block = vec![0; tensors.len().saturating_mul(ENTRY).saturating_add(HEADER)];
    let small = |n: usize| u32::try_from(n).map_err(|_| too_long(n, most));
    put(&mut block, 0, MAGIC);
    put(&mut block, 4, &small(tensors.len())?.to_le_bytes());
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        if tensor.shape.len() > MAX_RANK {
            return Err(AppError::new(
                "tensor-shape",
                format!("`{name}` has {} dimensions; a module is given at most 8", tensor.shape.len()),
            ));
        }
        let at = i.saturating_mul(ENTRY).saturating_add(HEADER);
        let name_at = block.len();
        block.extend_from_slice(name.as_bytes());
        block.resize(block.len().next_multiple_of(16), 0);
        let data_at = block.len();
        append(&tensor.data, &mut block);
        let length = block.len().saturating_sub(data_at);
        if block.len() > most {
            return Err(too_long(block.len(), most));
        }
        block.resize(block.len().next_multiple_of(16), 0);
        for (offset, number) in [(0, name_at), (4, name.len()), (12, tensor.shape.len()), (80, data_at), (84, length)] {
            put(&mut block, at.saturating_add(offset), &small(number)?.to_le_bytes());
        }
        put(&mut block, at.saturating_add(8), &code(&tensor.data).to_le_bytes());
        for (d, side) in tensor.shape.iter().enumerate() {
            put(&mut block, at.saturating_add(16).saturating_add(d.saturating_mul(8)), &side.to_le_bytes());
        }
    }
    Ok(block)
}

fn too_long(bytes: usize, most: usize) -> AppError {
    AppError::new("wasm-memory", format!("what the step is given has {bytes} bytes or more; memory_mib allows {most} for all"))
}

/// The tensors of a block. Code `wasm-answer`.
pub(super) fn read(block: &[u8]) -> Result<Tensors> {
    if block.get(..4) != Some(MAGIC) {
        return Err(bad("it does not begin with PHT1"));
    }
    let count = number(block, 4)?;
    if count > MAX_TENSORS {
        return Err(bad(format!("{count} tensors; at most {MAX_TENSORS} are read")));
    }
    (0..count).map(|i| entry(block, i.saturating_mul(ENTRY).saturating_add(HEADER))).collect()
}

fn bytes(block: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    let end = at.checked_add(length).ok_or_else(|| bad("a place outside of it"))?;
    block.get(at..end).ok_or_else(|| bad(format!("bytes {at} to {end} of {}", block.len())))
}

fn number(block: &[u8], at: usize) -> Result<usize> {
    let four = bytes(block, at, 4)?.try_into().map_err(bad)?;
    usize::try_from(u32::from_le_bytes(four)).map_err(bad)
}

fn entry(block: &[u8], at: usize) -> Result<(String, TensorData)> {
    let entry = bytes(block, at, ENTRY)?;
    let (name_at, name_length, rank) = (number(entry, 0)?, number(entry, 4)?, number(entry, 12)?);
    if name_length > MAX_NAME || rank > MAX_RANK {
        return Err(bad(format!("a name of {name_length} bytes, or {rank} dimensions")));
    }
    let name = std::str::from_utf8(bytes(block, name_at, name_length)?).map_err(bad)?.to_owned();
    let sides = entry.get(16..80).unwrap_or_default().chunks_exact(8).take(rank);
    let shape: Vec<i64> = sides.filter_map(|side| Some(i64::from_le_bytes(side.try_into().ok()?))).collect();
    let data = data(number(entry, 8)?, bytes(block, number(entry, 80)?, number(entry, 84)?)?)?;
    let tensor = TensorData::new(shape, data).map_err(|e| bad(format!("`{name}`: {}", e.message)))?;
    Ok((name, tensor))
}

fn data(code: usize, bytes: &[u8]) -> Result<Data> {
    macro_rules! each {
        ($type:ty, $variant:ident) => {{
            let chunks = bytes.chunks_exact(size_of::<$type>());
            if !chunks.remainder().is_empty() {
                return Err(bad("data end within an element"));
            }
            Data::$variant(chunks.filter_map(|chunk| Some(<$type>::from_le_bytes(chunk.try_into().ok()?))).collect())
        }};
    }
    Ok(match code {
        1 => each!(f32, F32),
        2 => Data::U8(bytes.to_vec()),
        3 => each!(i8, I8),
        4 => each!(u16, U16),
        5 => each!(i16, I16),
        6 => each!(i32, I32),
        7 => each!(i64, I64),
        8 => Data::Text(texts(bytes)?),
        9 => Data::Bool(bytes.iter().map(|b| *b != 0).collect()),
        10 => each!(half::f16, F16),
        11 => each!(f64, F64),
        12 => each!(u32, U32),
        13 => each!(u64, U64),
        _ => return Err(bad(format!("datatype {code} is not known"))),
    })
}

fn texts(mut bytes: &[u8]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let length = number(bytes, 0)?;
        let text = self::bytes(bytes, 4, length)?;
        all.push(std::str::from_utf8(text).map_err(bad)?.to_owned());
        bytes = bytes.get(length.saturating_add(4)..).unwrap_or_default();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let tensor = |shape: &[i64], data: Data| TensorData::new(shape.to_vec(), data).unwrap();
        let all: Tensors = vec![
            ("a".into(), tensor(&[2, 1], Data::F32(vec![1.5, f32::NAN]))),
            (String::new(), tensor(&[0, 6], Data::F32(Vec::new()))),
            ("texts of more than sixteen bytes".into(), tensor(&[2], Data::Text(vec!["煤".into(), String::new()]))),
            ("b".into(), tensor(&[3], Data::Bool(vec![true, false, true]))),
            ("c".into(), tensor(&[], Data::I64(vec![i64::MIN]))),
            ("d".into(), tensor(&[1, 1, 1, 1, 1, 1, 1, 1], Data::U16(vec![65_535]))),
        ];
        let block = write(&all, 10_000).unwrap();
        // The example of the documentation: a header of 16, entries of 96, data at multiples of 16.
        assert_eq!((&block[..4], block[4], &block[16..24]), (b"PHT1".as_slice(), 6, [80, 2, 0, 0, 1, 0, 0, 0].as_slice()));
        assert_eq!(format!("{:?}", read(&block).unwrap()), format!("{all:?}"));
        assert_eq!(write(&all, block.len() - 16).unwrap_err().code, "wasm-memory");
        // Cut anywhere, or with any byte changed, it is a message or `wasm-answer`, never a panic.
        for end in 0..block.len() {
            let _ = read(&block[..end]).map_err(|e| assert_eq!(e.code, "wasm-answer"));
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = block.clone();
                changed[end] = value;
                let _ = read(&changed).map_err(|e| assert_eq!(e.code, "wasm-answer"));
            }
        }
        assert!(read(&block[..block.len() - 16]).is_err());
    }
}
