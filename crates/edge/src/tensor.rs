//! Tensors of the Open Inference Protocol between JSON and raw little-endian bytes.

use inference::engine::{Data, TensorData};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Nesting of JSON data at most.
const MAX_DEPTH: usize = 8;

/// Bytes of one element; `None` for a datatype that is not served.
pub fn width(datatype: &str) -> Option<usize> {
    Some(match datatype {
        "BOOL" | "UINT8" | "INT8" => 1,
        "INT16" | "UINT16" | "FP16" => 2,
        "INT32" | "UINT32" | "FP32" => 4,
        "INT64" | "UINT64" | "FP64" => 8,
        _ => return None,
    })
}

/// Elements of a shape; `None` where it has a negative dimension or overflows.
pub fn elements(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, d| n.checked_mul(usize::try_from(*d).ok()?))
}

/// A tensor for the engine out of raw bytes; `None` where length, shape and datatype do not fit together.
pub fn decode(datatype: &str, shape: &[i64], bytes: &[u8]) -> Option<TensorData> {
    fn each<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.chunks_exact(N).filter_map(|c| c.try_into().ok()).map(f).collect()
    }
    if elements(shape)?.checked_mul(width(datatype)?)? != bytes.len() {
        return None;
    }
    let data = match datatype {
        "BOOL" => Data::Bool(bytes.iter().map(|b| *b != 0).collect()),
        "UINT8" => Data::U8(bytes.to_vec()),
        "INT8" => Data::I8(each(bytes, i8::from_le_bytes)),
        "INT16" => Data::I16(each(bytes, i16::from_le_bytes)),
        "UINT16" => Data::U16(each(bytes, u16::from_le_bytes)),
        "INT32" => Data::I32(each(bytes, i32::from_le_bytes)),
        "UINT32" => Data::U32(each(bytes, u32::from_le_bytes)),
        "INT64" => Data::I64(each(bytes, i64::from_le_bytes)),
        "UINT64" => Data::U64(each(bytes, u64::from_le_bytes)),
        "FP16" => Data::F16(each(bytes, half::f16::from_le_bytes)),
        "FP32" => Data::F32(each(bytes, f32::from_le_bytes)),
        "FP64" => Data::F64(each(bytes, f64::from_le_bytes)),
        _ => return None,
    };
    TensorData::new(shape.to_vec(), data).ok()
}

/// Raw little-endian bytes of an engine's tensor.
pub fn encode(data: &Data) -> Vec<u8> {
    match data {
        Data::Bool(v) => v.iter().map(|b| u8::from(*b)).collect(),
        Data::U8(v) => v.clone(),
        Data::I8(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        Data::I16(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        Data::U16(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        Data::I32(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        Data::U32(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        Data::U64(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        Data::F16(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        Data::F32(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        Data::F64(v) => v.iter().flat_map(|n| n.to_le_bytes()).collect(),
        // As the protocol has texts: each after its length. No output of an app's model is one today.
        Data::Text(v) => {
            let text = |text: &String| [u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes().as_slice(), text.as_bytes()].concat();
            v.iter().flat_map(text).collect()
        }
    }
}

/// The bytes of each `data` in the `inputs` of a question, by its place; empty where an input has none. `wanted` has the datatype of each
/// and the bytes that it may have at most. The values are read from the text one by one, flat or nested, and no tree of them is made.
pub fn data_of(question: &[u8], wanted: &[(&str, usize)]) -> Result<Vec<Vec<u8>>, String> {
    let mut reader = serde_json::Deserializer::from_slice(question);
    reader.deserialize_map(Inputs(wanted)).map_err(|e| e.to_string())
}

/// Reads a question for its `inputs`.
struct Inputs<'a>(&'a [(&'a str, usize)]);

impl<'de> Visitor<'de> for Inputs<'_> {
    type Value = Vec<Vec<u8>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a question")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "inputs" {
                all = map.next_value_seed(List(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(all)
    }
}

/// Reads the list of inputs.
struct List<'a>(&'a [(&'a str, usize)]);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = Vec<Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = Vec<Vec<u8>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of inputs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::with_capacity(self.0.len());
        for (datatype, most) in self.0 {
            let mut bytes = Vec::new();
            if list.next_element_seed(Item { datatype, most: *most, bytes: &mut bytes })?.is_none() {
                break;
            }
            all.push(bytes);
        }
        Ok(all)
    }
}

/// Reads one input for its `data`.
struct Item<'a> {
    datatype: &'a str,
    most: usize,
    bytes: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an input")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "data" {
                map.next_value_seed(Push { datatype: self.datatype, most: self.most, depth: 0, bytes: self.bytes })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Appends a value, or all values of a list, to the bytes.
struct Push<'a> {
    datatype: &'a str,
    most: usize,
    depth: usize,
    bytes: &'a mut Vec<u8>,
}

impl Push<'_> {
    fn scalar<E: serde::de::Error>(self, value: &Value) -> Result<(), E> {
        push(self.datatype, value, self.bytes).map_err(E::custom)?;
        if self.bytes.len() > self.most {
            return Err(E::custom("there are more values than the shape has"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Push<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Push<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.datatype)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth == MAX_DEPTH {
            return Err(serde::de::Error::custom(format_args!("data is nested deeper than {MAX_DEPTH}")));
        }
        while list.next_element_seed(Push { datatype: self.datatype, most: self.most, depth: self.depth + 1, bytes: self.bytes })?.is_some()
        {
        }
        Ok(())
    }

    /// `null`: no values.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        if self.depth == 0 { Ok(()) } else { Err(E::custom(format_args!("null is not a {}", self.datatype))) }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(&value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(&value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(&value.into())
    }
}

fn push(datatype: &str, value: &Value, bytes: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("{value} is not a {datatype}");
    match datatype {
        "BOOL" => bytes.push(u8::from(value.as_bool().or_else(|| value.as_u64().map(|n| n != 0)).ok_or_else(wrong)?)),
        "UINT8" => bytes.push(value.as_u64().and_then(|n| u8::try_from(n).ok()).ok_or_else(wrong)?),
        "INT8" => bytes.extend(value.as_i64().and_then(|n| i8::try_from(n).ok()).ok_or_else(wrong)?.to_le_bytes()),
        "INT16" => bytes.extend(value.as_i64().and_then(|n| i16::try_from(n).ok()).ok_or_else(wrong)?.to_le_bytes()),
        "UINT16" => bytes.extend(value.as_u64().and_then(|n| u16::try_from(n).ok()).ok_or_else(wrong)?.to_le_bytes()),
        "UINT32" => bytes.extend(value.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(wrong)?.to_le_bytes()),
        "UINT64" => bytes.extend(value.as_u64().ok_or_else(wrong)?.to_le_bytes()),
        "INT32" => bytes.extend(value.as_i64().and_then(|n| i32::try_from(n).ok()).ok_or_else(wrong)?.to_le_bytes()),
        "INT64" => bytes.extend(value.as_i64().ok_or_else(wrong)?.to_le_bytes()),
        #[expect(clippy::cast_possible_truncation, reason = "FP32 is asked for")]
        "FP32" => bytes.extend((value.as_f64().ok_or_else(wrong)? as f32).to_le_bytes()),
        "FP16" => bytes.extend(half::f16::from_f64(value.as_f64().ok_or_else(wrong)?).to_le_bytes()),
        "FP64" => bytes.extend(value.as_f64().ok_or_else(wrong)?.to_le_bytes()),
        _ => return Err(format!("datatype {datatype} is not served")),
    }
    Ok(())
}

/// The bytes of a tensor as flat JSON data, written one by one: a tree of them would take thirty times the memory. Numbers that JSON cannot
/// say (NaN, infinity) become null.
pub struct Values<'a> {
    pub datatype: &'a str,
    pub bytes: &'a [u8],
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn each<S: Serializer, const N: usize, T: Serialize>(bytes: &[u8], to: S, f: impl Fn([u8; N]) -> T) -> Result<S::Ok, S::Error> {
            to.collect_seq(bytes.chunks_exact(N).filter_map(|c| c.try_into().ok()).map(f))
        }
        let bytes = self.bytes;
        match self.datatype {
            "BOOL" => each(bytes, serializer, |[b]: [u8; 1]| b != 0),
            "UINT8" => each(bytes, serializer, |[b]: [u8; 1]| b),
            "INT8" => each(bytes, serializer, i8::from_le_bytes),
            "INT16" => each(bytes, serializer, i16::from_le_bytes),
            "UINT16" => each(bytes, serializer, u16::from_le_bytes),
            "UINT32" => each(bytes, serializer, u32::from_le_bytes),
            "UINT64" => each(bytes, serializer, u64::from_le_bytes),
            "INT32" => each(bytes, serializer, i32::from_le_bytes),
            "INT64" => each(bytes, serializer, i64::from_le_bytes),
            "FP16" => each(bytes, serializer, |b| half::f16::from_le_bytes(b).to_f64()),
            "FP32" => each(bytes, serializer, |b| f64::from(f32::from_le_bytes(b))),
            "FP64" => each(bytes, serializer, f64::from_le_bytes),
            _ => serializer.collect_seq(std::iter::empty::<u8>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn from_json(datatype: &str, data: &str) -> Result<Vec<u8>, String> {
        let question = format!(r#"{{"id":"1","inputs":[{{"name":"x","data":{data},"shape":[]}}]}}"#);
        data_of(question.as_bytes(), &[(datatype, 100)]).map(|mut all| all.pop().unwrap())
    }

    fn to_json(datatype: &str, bytes: &[u8]) -> Value {
        serde_json::to_value(Values { datatype, bytes }).unwrap()
    }

    #[test]
    fn flat_and_nested_are_the_same() {
        let flat = from_json("FP32", "[1, 2.5, 3, 4]").unwrap();
        assert_eq!(flat, from_json("FP32", "[[1, 2.5], [3, 4]]").unwrap());
        assert_eq!(to_json("FP32", &flat), json!([1.0, 2.5, 3.0, 4.0]));
        assert_eq!(to_json("FP32", &[f32::NAN, 0.5].map(f32::to_le_bytes).concat()), json!([null, 0.5]));
    }

    #[test]
    fn every_datatype_there_and_back() {
        for (datatype, data) in [
            ("BOOL", json!([true, false])),
            ("UINT8", json!([0, 255])),
            ("INT8", json!([-128, 127])),
            ("INT16", json!([i16::MIN, i16::MAX])),
            ("UINT16", json!([0, u16::MAX])),
            ("UINT32", json!([0, u32::MAX])),
            ("UINT64", json!([0, u64::MAX])),
            ("INT32", json!([-1, i32::MAX])),
            ("INT64", json!([i64::MIN, i64::MAX])),
            ("FP16", json!([0.5, -2048.0])),
            ("FP64", json!([0.1, -1e300])),
        ] {
            let bytes = from_json(datatype, &data.to_string()).unwrap();
            assert_eq!(bytes.len(), 2 * width(datatype).unwrap());
            assert_eq!(to_json(datatype, &bytes), data, "{datatype}");
            let tensor = decode(datatype, &[2], &bytes).unwrap();
            assert_eq!((tensor.data.datatype(), encode(&tensor.data)), (datatype, bytes));
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        assert!(from_json("UINT8", "[256]").is_err());
        assert!(from_json("INT32", "[1.5]").is_err());
        assert!(from_json("FP32", "[\"1\"]").is_err());
        assert!(from_json("BYTES", "[\"a\"]").is_err());
        assert!(from_json("UINT8", &format!("[{}1]", "1,".repeat(100))).unwrap_err().contains("more values"));
        let deep = (0..20).fold(json!(1), |v, _| json!([v]));
        assert!(from_json("FP32", &deep.to_string()).is_err());
        assert_eq!(elements(&[1, -1]), None);
        assert_eq!(elements(&[i64::MAX, i64::MAX]), None);
    }
}
