//! Why a text is not YAML, in goyaml's words, which templates may look at.

/// What goyaml's parser says, not its scanner, whose lines it counts from 0.
const PARSER: &[&str] = &[
    "did not find expected ',' or ']'",
    "did not find expected ',' or '}'",
    "did not find expected '-' indicator",
    "did not find expected key",
    "did not find expected node content",
    "did not find expected <document start>",
    "found undefined tag handle",
];

/// How begins what is said without a line: by goyaml's reader of characters, and by its decoder of values.
const WITHOUT_LINE: &[&str] = &[
    "control characters are not allowed",
    "cannot decode ",
    "unknown anchor ",
    "anchor ",
    "document contains excessive aliasing",
    "map merge requires ",
];

/// An error of the reader as goyaml says it.
pub(super) fn of_go(error: &cozy_yaml::Error) -> String {
    let words = match &*error.problem {
        "a quoted scalar does not end" => "found unexpected end of stream",
        "did not find expected key or '-' indicator" => "did not find expected '-' indicator",
        "did not find expected hexadecimal number" => "did not find expected hexdecimal number",
        other => other.strip_prefix("a flow collection does not end: ").unwrap_or(other),
    };
    let words = words.replacen("cannot decode `", "cannot decode !!str `", 1);
    let words = words.as_str();
    if WITHOUT_LINE.iter().any(|start| words.starts_with(start)) {
        return format!("yaml: {words}");
    }
    let of_parser = PARSER.contains(&words);
    let line = error.noticed.saturating_sub(u64::from(of_parser));
    match line {
        0 => format!("yaml: {words}"),
        1 if !of_parser => format!("yaml: {words}"),
        line => format!("yaml: line {line}: {words}"),
    }
}
