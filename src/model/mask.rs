//! What must not be shown: values of Secrets, and what charts generate, wherever
//! they turn up, in logs, events and messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Shorter values are words that stand anywhere (`admin`, `true`).
const SHORTEST: usize = 6;

/// What stands for a value.
pub(crate) const MASK: &str = "[secret]";

/// A text, and its lines.
fn lines(text: &str) -> Vec<String> {
    // Every PEM begins and ends with the same words.
    let said = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    said.chain([text]).map(str::to_owned).collect()
}

/// Values that must not be shown, the longest first.
#[derive(Clone, Default)]
pub(crate) struct Masks(Vec<String>);

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Masks of {}", self.0.len())
    }
}

impl Masks {
    /// Takes the values of Secrets: each as it is, line by line, and as base64.
    pub(crate) fn of<'a>(secrets: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut values = Vec::new();
        for secret in secrets {
            let data = secret.get("data").and_then(Value::as_object).into_iter().flatten();
            for encoded in data.filter_map(|(_, value)| value.as_str()) {
                values.push(encoded.trim_end_matches('=').to_owned());
                let text = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                values.extend(text.into_iter().flat_map(|text| lines(&text)));
            }
        }
        Self::new(values)
    }

    /// Takes texts: each as it is, line by line, and as base64.
    pub(crate) fn of_texts(texts: impl IntoIterator<Item = String>) -> Self {
        let encoded = |text: &String| STANDARD.encode(text).trim_end_matches('=').to_owned();
        Self::new(texts.into_iter().flat_map(|text| [vec![encoded(&text)], lines(&text)].concat()).collect())
    }

    /// These and others.
    pub(crate) fn and(&self, others: &Self) -> Self {
        Self::new([self.0.as_slice(), &others.0].concat())
    }

    fn new(mut values: Vec<String>) -> Self {
        values.retain(|value| value.len() >= SHORTEST);
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self(values)
    }

    /// A text without them.
    pub(crate) fn mask(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), MASK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_masked_as_they_are_and_as_base64() {
        let encoded = STANDARD.encode("hunter2-canary\nsecond-line");
        let masks = Masks::of(&[json!({ "data": { "password": encoded, "short": STANDARD.encode("yes") } })]);
        let text = format!("login hunter2-canary failed, {encoded}, second-line, yes");
        assert_eq!(masks.mask(&text), "login [secret] failed, [secret]=, [secret], yes");
        let both = masks.and(&Masks::of_texts(["of-the-user".to_owned()]));
        assert_eq!(both.mask("second-line of-the-user"), "[secret] [secret]");
    }
}
