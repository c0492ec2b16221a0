//! Probabilities of characters along a line → a text.
//!
//! Decoded as connectionist temporal classification has it (Graves et al., 2006), along the best path: the likeliest class of each step,
//! repeats once, blanks out.

#![expect(clippy::cast_possible_truncation, reason = "the mean of numbers of FP32 is one")]

use std::path::Path;

use app_package::{
    pipeline::{Activation, Blank, PostText},
    text::unmarked,
};

use super::numbers::Numbers;
use crate::{
    error::{AppError, Result},
    golden,
    output::TextOut,
};

/// Most characters of an alphabet, and of a line.
const MAX_CLASSES: usize = 65_536;

/// Reads an alphabet: a character a line, which may be several Unicode characters, or a blank. An empty last line is none.
pub(super) fn alphabet(dir: &Path, name: &str) -> Result<Vec<String>> {
    let unreadable = |why: &str| AppError::new("alphabet-unreadable", format!("`{name}`: {why}"));
    let bytes = golden::read(dir, name)?;
    let text = std::str::from_utf8(unmarked(&bytes)).map_err(|_| unreadable("it is not UTF-8"))?;
    let lines: Vec<String> = text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect();
    if lines.is_empty() || lines.len() > MAX_CLASSES {
        return Err(unreadable(&format!("it has {} lines; 1 to {MAX_CLASSES} are read", lines.len())));
    }
    match lines.iter().position(|line| line.is_empty() || line.chars().count() > 16) {
        Some(at) => Err(unreadable(&format!("line {} is empty or longer than 16 characters; a blank is written as one", at + 1))),
        None => Ok(lines),
    }
}

pub(super) fn text(p: &PostText, alphabet: &[String], numbers: &Numbers<'_>) -> Result<TextOut> {
    let classes = alphabet.len() + 1;
    let steps = match numbers.shape.as_slice() {
        [outer @ .., steps, last] if *last == classes && outer.iter().all(|&d| d == 1) => *steps,
        // Recognisers with recurrent layers give the steps first.
        [steps, 1, last] if *last == classes => *steps,
        _ => {
            let why = format!("an alphabet of {} characters needs {classes} classes in the last dimension, with the blank", alphabet.len());
            return Err(numbers.unread(&why));
        }
    };
    if steps > MAX_CLASSES || numbers.data.iter().any(|number| !number.is_finite()) {
        return Err(AppError::new("output-not-finite", format!("`text`: {} is too long or not finite", numbers.name)));
    }
    let (mut out, mut sum, mut count, mut before) = (TextOut::default(), 0.0f64, 0u32, None);
    for step in numbers.data.chunks_exact(classes) {
        let Some((best, most)) = step.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))) else { continue };
        let character = match p.blank {
            Blank::First => best.checked_sub(1),
            Blank::Last => Some(best),
        };
        let character = character.and_then(|at| alphabet.get(at));
        if let Some(character) = character.filter(|_| before != Some(best)) {
            out.text.push_str(character);
            sum += f64::from(match p.activation {
                Activation::None => *most,
                Activation::Sigmoid => super::classes::sigmoid(*most),
                Activation::Softmax => 1.0 / step.iter().map(|number| (number - most).exp()).sum::<f32>(),
            });
            count += 1;
        }
        before = Some(best);
    }
    out.score = if count > 0 { (sum / f64::from(count)) as f32 } else { 0.0 };
    Ok(out)
}
