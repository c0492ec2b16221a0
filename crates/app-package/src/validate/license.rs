//! The licence of a package: an SPDX expression (SPDX 2.3, annex D) of the list that the crate `spdx` carries.

use spdx::error::Reason;
use spdx::identifiers::{EXCEPTIONS, LICENSES};
use spdx::{Expression, flags};

use super::near::nearest;
use crate::fault::Fault;

/// Words of people who keep all rights; SPDX has no identifier for that.
const OWN: [&str; 4] = ["proprietary", "commercial", "closed", "all rights"];

/// Faults `license-unknown`, `license-unknown-hint`, `license-deprecated` and `license-expression`, without place.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    // SPDX has `NOASSERTION` and `NONE` for "nobody says", which the key `license` is there to prevent.
    if text.split([' ', '(', ')']).any(|word| word == "NOASSERTION" || word == "NONE") {
        return Err(Fault::new("license-unknown", "").with("value", "NOASSERTION"));
    }
    // The crate `spdx` takes a reference without a name, which is a fault here.
    if let Some(word) = text.split([' ', '(', ')']).find(|word| word.ends_with("Ref-") || word.contains("Ref-:")) {
        return Err(Fault::new("license-expression", "").with("value", word).with("detail", "LicenseRef-NAME"));
    }
    let Err(error) = Expression::parse(text) else { return Ok(()) };
    let term = text.get(error.span.clone()).unwrap_or_default().trim();
    let rest = text.get(error.span.start..).unwrap_or_default();
    Err(match error.reason {
        Reason::UnknownLicense | Reason::UnknownException | Reason::UnknownTerm => unknown(term, rest),
        Reason::DeprecatedLicenseId | Reason::GnuNoPlus => {
            let fault = |hint: &str| Fault::new("license-deprecated", "").with("value", term).with("hint", hint);
            match successor(text, error.span.start) {
                Some(hint) => fault(&hint),
                None => Fault::new("license-unknown", "").with("value", term),
            }
        }
        reason => Fault::new("license-expression", "").with("value", if term.is_empty() { text } else { term }).with("detail", reason),
    })
}

/// Fault of an unknown identifier `term`, which stands at the beginning of `rest`.
fn unknown(term: &str, rest: &str) -> Fault {
    let fault = Fault::new("license-unknown", "").with("value", term);
    match known_as(term, rest) {
        Some(hint) => Fault { code: "license-unknown-hint", ..fault }.with("hint", hint),
        None => fault,
    }
}

/// The identifier that is meant: another case, a usual abbreviation, or two letters that differ.
fn known_as(term: &str, rest: &str) -> Option<&'static str> {
    let lower = rest.to_lowercase();
    if OWN.iter().any(|word| lower.starts_with(word)) {
        return Some("LicenseRef-Proprietary");
    }
    let current = || {
        let licenses = LICENSES.iter().filter(|l| l.flags & flags::IS_DEPRECATED == 0).map(|l| l.name);
        licenses.chain(EXCEPTIONS.iter().filter(|e| e.flags & flags::IS_DEPRECATED == 0).map(|e| e.name))
    };
    let same = current().find(|name| name.eq_ignore_ascii_case(term));
    let usual = || spdx::imprecise_license_id(rest).map(|(id, _)| id).filter(|id| !id.is_deprecated()).map(|id| id.name);
    // Of a long word two letters are a slip; of a short one they are half of it, and abbreviations are short.
    let near = || nearest(term, current());
    same.or_else(|| near().filter(|_| term.len() > 8)).or_else(usual).or_else(near)
}

/// The successor of a deprecated identifier of GNU, such as `GPL-2.0` or `GPL-2.0+`.
fn successor(text: &str, start: usize) -> Option<String> {
    let rest = text.get(start..)?.trim_start_matches('+');
    // A fault at the `+` itself is one of the identifier before it.
    let name = if rest.starts_with(|c: char| c.is_ascii_alphanumeric()) { rest } else { text.get(..start)?.rsplit([' ', '(']).next()? };
    let end = name.find([' ', ')', '+']).unwrap_or(name.len());
    let (id, after) = (name.get(..end)?, text.get(start..)?);
    let later = after.starts_with('+') || name.get(end..)?.starts_with('+');
    spdx::gnu_license_id(id.strip_suffix("-only").unwrap_or(id), later).filter(|new| !new.is_deprecated()).map(|new| new.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_the_list_and_own_references_pass() {
        for text in [
            "Apache-2.0",
            "MIT OR Apache-2.0",
            "(MIT AND BSD-3-Clause) OR LicenseRef-Mine-1.0",
            "GPL-2.0-or-later WITH Classpath-exception-2.0",
            "LicenseRef-Proprietary",
            "DocumentRef-a:LicenseRef-b",
            "Apache-2.0+",
            "CC-BY-NC-4.0",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_meant() {
        for (text, code, value, hint) in [
            ("Apache2", "license-unknown-hint", "Apache2", "Apache-2.0"),
            ("Apache 2.0", "license-unknown-hint", "Apache", "Apache-2.0"),
            ("mit", "license-unknown-hint", "mit", "MIT"),
            ("MIT OR BSD-3-Clase", "license-unknown-hint", "BSD-3-Clase", "BSD-3-Clause"),
            ("MIT or apache-2.0", "license-unknown-hint", "apache-2.0", "Apache-2.0"),
            ("Proprietary", "license-unknown-hint", "Proprietary", "LicenseRef-Proprietary"),
            ("All rights reserved", "license-unknown-hint", "All", "LicenseRef-Proprietary"),
            ("OurOwnTerms", "license-unknown", "OurOwnTerms", ""),
            ("NOASSERTION", "license-unknown", "NOASSERTION", ""),
            ("GPL-2.0", "license-deprecated", "GPL-2.0", "GPL-2.0-only"),
            ("MIT OR GPL-3.0", "license-deprecated", "GPL-3.0", "GPL-3.0-only"),
            ("MIT Apache-2.0", "license-expression", "Apache-2.0", ""),
            ("(MIT", "license-expression", "(", ""),
            ("MIT OR", "license-expression", "MIT OR", ""),
            ("MIT, Apache-2.0", "license-expression", ", Apache-2.0", ""),
            ("LicenseRef-", "license-expression", "LicenseRef-", ""),
            ("煤矿许可证", "license-expression", "煤矿许可证", ""),
        ] {
            let fault = check(text).unwrap_err();
            let found = |name: &str| fault.args.get(name).map_or("", String::as_str);
            assert_eq!((fault.code, found("value"), found("hint")), (code, value, hint), "{text}");
        }
        let plus = check("GPL-2.0+").unwrap_err();
        assert_eq!((plus.code, plus.args["hint"].as_str()), ("license-deprecated", "GPL-2.0-or-later"));
    }
}
