//! Framing between the agent and an app's child process, over a Unix socket: one request, one answer, again.
//!
//! A frame is two lengths (u32, little endian: header, body), the header as JSON and the body as raw bytes. Both sides
//! bound both lengths before they allocate.

use std::io::{Read, Write};

use app_package::pipeline::Drawn;
use inference::evidence::{MAX_SMALL, MAX_WHOLE, Object, Pictures, Privacy};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a line on an app host's standard error begins that an own step logged.
pub const STEP_SAYS: &str = "\u{1}step ";

/// Largest header, in bytes.
const MAX_HEADER: usize = 1024 * 1024;
/// Largest body, in bytes. Requests are at most 20 MB at the API; answers of large models can be more.
const MAX_BODY: usize = 256 * 1024 * 1024;

/// A tensor described; its bytes follow in the body, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorHeader {
    pub name: String,
    /// Open Inference Protocol v2 datatype.
    pub datatype: String,
    pub shape: Vec<i64>,
    /// Length in the body, in bytes.
    pub bytes: usize,
}

/// A request of the agent to the child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Engine and confinement of the child; answered when the model is loaded.
    Info,
    /// Reproduce your golden samples.
    Golden,
    /// A picture, CSV or WAV in the body.
    Predict {
        /// Values the operator set.
        params: Map<String, Value>,
        /// Place for alarm texts.
        place: String,
        /// What is drawn in the picture.
        #[serde(default)]
        scene: Drawn,
    },
    /// One frame of a source in the body: RGB, 8 bits each, row by row.
    Frame {
        /// The source; what an app of moving pictures keeps of it is its own.
        source: String,
        width: u32,
        height: u32,
        /// Milliseconds since the source began.
        at_ms: u64,
        /// Values the operator set.
        params: Map<String, Value>,
        /// Place for alarm texts.
        place: String,
        /// What is drawn in the picture of this source.
        #[serde(default)]
        scene: Drawn,
    },
    /// Make the pictures of an alarm, out of the input in the body.
    Picture {
        /// Width and height of pixels as in `Frame`; none of a picture or a clip as in `Predict`.
        size: Option<[u32; 2]>,
        /// In a clip the second.
        at: Option<f64>,
        objects: Vec<Object>,
        privacy: Privacy,
    },
    /// Tensors in the body.
    Infer {
        /// Name of the model among the app's.
        model: String,
        /// Descriptions of the tensors, in the order of the body.
        inputs: Vec<TensorHeader>,
    },
}

/// What the child answers. The body holds JSON (info, golden, predict, frame), pictures ([`packed`]) or tensors (infer).
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Answer {
    /// Done.
    Ok {
        /// Tensors in the body, for `infer`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<TensorHeader>,
        /// Time in the child, in microseconds.
        micros: u64,
    },
    /// Refused or failed.
    Error {
        /// Stable kebab-case word.
        code: String,
        /// For people.
        message: String,
    },
}

/// Pictures as the body of an answer: width, height and length of the small one (u32, little endian), the small one, the whole one.
pub fn packed(pictures: &Pictures) -> Vec<u8> {
    let [width, height] = pictures.size;
    let length = u32::try_from(pictures.small.len()).unwrap_or(u32::MAX);
    let head = [width, height, length].map(u32::to_le_bytes).concat();
    [&*head, &pictures.small, &pictures.whole].concat()
}

/// The pictures in the body of an answer, as [`packed`] wrote them.
pub fn unpacked(body: &[u8]) -> Option<Pictures> {
    let number = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let (size, length) = ([number(0)?, number(4)?], usize::try_from(number(8)?).ok()?);
    let (small, whole) = body.get(12..)?.split_at_checked(length)?;
    let fit = !small.is_empty() && small.len() <= MAX_SMALL && !whole.is_empty() && whole.len() <= MAX_WHOLE;
    fit.then(|| Pictures { size, small: small.to_vec(), whole: whole.to_vec() })
}

fn invalid(why: impl Into<String>) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, why.into())
}

/// The bytes of a frame up to the body.
pub fn head<T: Serialize>(header: &T, body_len: usize) -> std::io::Result<Vec<u8>> {
    let header = serde_json::to_vec(header).map_err(std::io::Error::other)?;
    if header.len() > MAX_HEADER || body_len > MAX_BODY {
        return Err(invalid("frame too large"));
    }
    let mut bytes = Vec::with_capacity(8 + header.len());
    bytes.extend(u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(u32::try_from(body_len).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(header);
    Ok(bytes)
}

/// The two lengths at the start of a frame.
pub fn lengths(prefix: [u8; 8]) -> std::io::Result<(usize, usize)> {
    let both = u64::from_le_bytes(prefix);
    // Little endian: the first length is the low half. Both halves fit an usize of 32 bits.
    let (header, body) = ((both & 0xffff_ffff) as usize, (both >> 32) as usize);
    if header > MAX_HEADER || body > MAX_BODY { Err(invalid("frame too large")) } else { Ok((header, body)) }
}

/// Parses a header.
pub fn parse<T: DeserializeOwned>(header: &[u8]) -> std::io::Result<T> {
    serde_json::from_slice(header).map_err(|e| invalid(e.to_string()))
}

/// Reads a frame (blocking); `None` at the end of the stream between two frames.
pub fn read<T: DeserializeOwned>(stream: &mut impl Read) -> std::io::Result<Option<(T, Vec<u8>)>> {
    let mut prefix = [0u8; 8];
    match stream.read_exact(&mut prefix) {
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let (header_len, body_len) = lengths(prefix)?;
    let mut header = vec![0u8; header_len];
    stream.read_exact(&mut header)?;
    let mut body = vec![0u8; body_len];
    stream.read_exact(&mut body)?;
    Ok(Some((parse(&header)?, body)))
}

/// Writes a frame (blocking).
pub fn write<T: Serialize>(stream: &mut impl Write, header: &T, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(&head(header, body.len())?)?;
    stream.write_all(body)?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut bytes = Vec::new();
        write(&mut bytes, &Request::Predict { params: Map::new(), place: "3号皮带".into(), scene: Drawn::default() }, b"a,b\n1,2\n")
            .unwrap();
        let (request, body) = read::<Request>(&mut bytes.as_slice()).unwrap().unwrap();
        assert!(matches!(request, Request::Predict { place, .. } if place == "3号皮带"));
        assert_eq!(body, b"a,b\n1,2\n");
        assert!(read::<Request>(&mut [].as_slice()).unwrap().is_none());
    }

    #[test]
    fn large_lengths_are_refused_before_allocating() {
        assert!(lengths([0xff; 8]).is_err());
        assert!(read::<Request>(&mut [0xffu8; 16].as_slice()).is_err());
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let mut bytes = Vec::new();
        write(&mut bytes, &Request::Info, b"xyz").unwrap();
        bytes.pop();
        assert!(read::<Request>(&mut bytes.as_slice()).is_err());
    }
}
