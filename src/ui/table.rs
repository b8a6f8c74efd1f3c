//! Lists without borders, as kubectl prints them.

use comfy_table::{ContentArrangement, Table, presets};

use super::text::clean;

/// Renders rows under a header, wrapped inside their columns to `width`.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table.set_header(header.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn lists_have_columns_and_no_borders() {
        let rows = [
            vec!["edge".to_owned(), "1.0.0".to_owned(), "a small cloud at the edge".to_owned()],
            vec![
                "iaas".to_owned(),
                "1.0.0".to_owned(),
                "virtual machines, networks and storage for people who run their own".to_owned(),
            ],
            vec!["x\u{1b}[2J".to_owned(), String::new(), "hostile\nname".to_owned()],
        ];
        assert_snapshot!(table(&["name", "version", "description"], &rows, 60), @r"
        NAME   VERSION  DESCRIPTION
        edge   1.0.0    a small cloud at the edge
        iaas   1.0.0    virtual machines, networks and storage for
                        people who run their own
        x�[2J           hostile name
        ");
    }
}
