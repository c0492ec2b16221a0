//! Searching text as people type it, the same on both backends.

diesel::define_sql_function! {
    /// Lower case; SQLite only changes ASCII letters.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}

/// Character that makes the next `%`, `_` or itself plain text in a pattern: `.escape(ESCAPE)`.
pub const ESCAPE: char = '\\';

/// A pattern for texts that contain this one.
pub fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | ESCAPE) {
            pattern.push(ESCAPE);
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::containing;

    #[test]
    fn signs_of_patterns_are_only_text() {
        assert_eq!(containing("北山"), "%北山%");
        assert_eq!(containing(r"50%_\"), r"%50\%\_\\%");
    }
}
