//! Plain tables for people.

/// Prints a heading and aligned columns: the first to the left, the others to the right.
pub fn print(heading: &str, columns: &[&str], rows: &[Vec<String>]) {
    print!("{}", render(heading, columns, rows));
}

fn render(heading: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain(columns.get(at).map(|name| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let names: Vec<String> = columns.iter().map(|name| name.to_string()).collect();
    let mut text = format!("\n{heading}\n{}\n", line(&names));
    for row in rows {
        text.push_str(&line(row));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".into(), "1.00".into()], vec!["longer".into(), "22".into()]];
        let text = render("Things", &["name", "tok/s"], &rows);
        assert_eq!(text, "\nThings\nname    tok/s\na        1.00\nlonger     22\n");
    }
}
