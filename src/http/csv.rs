//! Lists as CSV files (RFC 4180) that spreadsheets open.

/// Marks the text as UTF-8 for spreadsheets; stands before the first line.
pub const MARK: &str = "\u{feff}";

/// A line of quoted cells. A text that a spreadsheet would take for a formula gets an apostrophe before it.
pub fn line<const N: usize>(cells: [&str; N]) -> String {
    cells.map(cell).join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_cell_is_a_formula_or_breaks_its_line() {
        assert_eq!(super::line(["=1+1", "a \"b\"", "x,y\n"]), "\"'=1+1\",\"a \"\"b\"\"\",\"x,y\n\"\r\n");
    }
}
