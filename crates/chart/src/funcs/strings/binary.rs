//! Go's `strings` on strings that may be no UTF-8: a byte that is of no character is one of its own, which Go reads as
//! U+FFFD, but writes as it was.

use memchr::memmem;

/// The first character, and its length.
fn first(bytes: &[u8]) -> Option<(char, usize)> {
    bytes.first()?;
    let start = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    let character = start.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    Some(character.map_or((char::REPLACEMENT_CHARACTER, 1), |character| (character, character.len_utf8())))
}

/// The last character, and its length.
fn last(bytes: &[u8]) -> Option<(char, usize)> {
    bytes.last()?;
    let character = (1..=bytes.len().min(4)).find_map(|length| {
        let text = std::str::from_utf8(bytes.get(bytes.len() - length..)?).ok()?;
        text.chars().next()
    });
    Some(character.map_or((char::REPLACEMENT_CHARACTER, 1), |character| (character, character.len_utf8())))
}

/// Go's `strings.TrimFunc`.
pub(super) fn trimmed(bytes: &[u8], goes: impl Fn(char) -> bool) -> &[u8] {
    let mut rest = bytes;
    while let Some((_, length)) = first(rest).filter(|(character, _)| goes(*character)) {
        rest = rest.get(length..).unwrap_or_default();
    }
    while let Some((_, length)) = last(rest).filter(|(character, _)| goes(*character)) {
        rest = rest.get(..rest.len() - length).unwrap_or_default();
    }
    rest
}

/// Go's `strings.ReplaceAll`; nothing is found between any two characters.
pub(super) fn replaced(whole: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(whole.len());
    if old.is_empty() {
        let mut rest = whole;
        out.extend_from_slice(new);
        while let Some((_, length)) = first(rest) {
            out.extend_from_slice(rest.get(..length).unwrap_or_default());
            out.extend_from_slice(new);
            rest = rest.get(length..).unwrap_or_default();
        }
        return out;
    }
    let mut from = 0;
    for at in memmem::find_iter(whole, old) {
        out.extend_from_slice(whole.get(from..at).unwrap_or_default());
        out.extend_from_slice(new);
        from = at + old.len();
    }
    out.extend_from_slice(whole.get(from..).unwrap_or_default());
    out
}

/// Go's `strings.SplitN`.
pub(super) fn split<'a>(
    whole: &'a [u8],
    separator: &'a [u8],
    count: i64,
) -> impl Iterator<Item = &'a [u8]> + Clone {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    // Without a separator there is a part for each character, and none for none.
    let mut rest = Some(whole).filter(|whole| count != 0 && !(whole.is_empty() && separator.is_empty()));
    let mut made = 0;
    std::iter::from_fn(move || {
        let whole = rest?;
        made += 1;
        // Where this part ends, and where the next one begins.
        let cut = if made >= most {
            None
        } else if separator.is_empty() {
            let (_, length) = first(whole)?;
            Some((length, length)).filter(|_| length < whole.len())
        } else {
            memmem::find(whole, separator).map(|at| (at, at + separator.len()))
        };
        rest = cut.and_then(|(_, next)| whole.get(next..));
        whole.get(..cut.map_or(whole.len(), |(end, _)| end))
    })
}
