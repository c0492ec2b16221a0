//! The CSRF value on its way. Pages are compressed and show what readers typed, so a value that is the same in each of them could be found
//! out by their length (BREACH). Each answer therefore carries it behind a mask of its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::base::ids;

/// Longest value.
const MAX: usize = 64;

/// A value behind a new mask: the mask and their exclusive or, in base64url. Empty for an empty value and for one that is none of ours.
pub fn masked(value: &str) -> String {
    if value.is_empty() || value.len() > MAX {
        return String::new();
    }
    let mask = ids::random::<MAX>();
    let mask = mask.get(..value.len()).unwrap_or_default();
    URL_SAFE_NO_PAD.encode([mask, &xor(mask, value.as_bytes())].concat())
}

/// Whether what was sent is a value behind some mask.
pub fn fits(value: &str, sent: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(sent) else { return false };
    let Some((mask, rest)) = bytes.split_at_checked(bytes.len() / 2) else { return false };
    !value.is_empty() && rest.len() == mask.len() && bool::from(xor(mask, rest).ct_eq(value.as_bytes()))
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(x, y)| x ^ y).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_another_value_and_all_fit() {
        let value = ids::secret();
        let (one, other) = (masked(&value), masked(&value));
        assert_ne!(one, other);
        assert!(fits(&value, &one) && fits(&value, &other));
        // No part of the value stands in the answer.
        assert!(
            !one.contains(value.get(..8).unwrap())
                && !URL_SAFE_NO_PAD.decode(&one).unwrap().windows(8).any(|w| w == &value.as_bytes()[..8])
        );
        for wrong in ["", "AA", value.as_str(), masked(&ids::secret()).as_str(), one.get(2..).unwrap()] {
            assert!(!fits(&value, wrong), "{wrong}");
        }
        assert_eq!(masked(""), "");
        assert!(!fits("", "") && masked(&"x".repeat(65)).is_empty());
    }
}
