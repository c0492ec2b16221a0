//! Writing a clip: the file that [`super::read`] reads, with the index that players seek by.
//!
//! Source: Microsoft, "AVI RIFF File Reference" (`AVIMAINHEADER`, `AVISTREAMHEADER`, `AVIOLDINDEX`), "BITMAPINFOHEADER".

/// Flag of the main header: there is an index. The same number marks in the index a frame that needs no other.
const HAS_INDEX: u32 = 0x10;

/// A clip of JPEG pictures of one size, each of which lasts `scale / rate` seconds.
pub fn write(jpegs: &[Vec<u8>], (scale, rate): (u32, u32), [width, height]: [u32; 2]) -> Vec<u8> {
    let largest = jpegs.iter().map(Vec::len).max().map_or(0, length);
    let frames = length(jpegs.len());
    let micros = u64::from(scale) * 1_000_000 / u64::from(rate.max(1));
    let main = words(&[u32::try_from(micros).unwrap_or(u32::MAX), 0, 0, HAS_INDEX, frames, 0, 1, largest, width, height, 0, 0, 0, 0]);
    let stream =
        [b"vidsMJPG".as_slice(), &words(&[0, 0, 0, scale, rate, 0, frames, largest, u32::MAX, 0, 0, width | height << 16])].concat();
    let format = [&words(&[40, width, height, 1 | 24 << 16])[..], b"MJPG", &words(&[largest, 0, 0, 0, 0])].concat();
    let stream = list(*b"strl", &[chunk(*b"strh", &stream), chunk(*b"strf", &format)]);
    let (mut movi, mut index) = (Vec::new(), Vec::new());
    // Places in the index count from the word `movi`.
    let mut place = 4;
    for jpeg in jpegs {
        let frame = chunk(*b"00dc", jpeg);
        index.extend([b"00dc".as_slice(), &words(&[HAS_INDEX, place, length(jpeg.len())])].concat());
        place = place.saturating_add(length(frame.len()));
        movi.push(frame);
    }
    let parts = [list(*b"hdrl", &[chunk(*b"avih", &main), stream]), list(*b"movi", &movi), chunk(*b"idx1", &index)];
    chunk(*b"RIFF", &[b"AVI ".as_slice(), &parts.concat()].concat())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn chunk(id: [u8; 4], data: &[u8]) -> Vec<u8> {
    let padding: &[u8] = if data.len() % 2 == 1 { &[0] } else { &[] };
    [id.as_slice(), &length(data.len()).to_le_bytes(), data, padding].concat()
}

fn list(kind: [u8; 4], parts: &[Vec<u8>]) -> Vec<u8> {
    chunk(*b"LIST", &[kind.as_slice(), &parts.concat()].concat())
}

/// Clips are bounded far below 4 GiB.
fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
