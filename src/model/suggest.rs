//! The nearest known name, for people who mistype.

/// The longest text that is compared.
const LONGEST: usize = 100;

/// `did you mean …?`, or nothing where nothing is near.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, known).map(|name| format!("did you mean `{name}`?")).unwrap_or_default()
}

/// The nearest known name, if one is near.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance takes the product of both lengths: nobody mistypes a name for a page.
    if written.len() > LONGEST {
        return None;
    }
    let (lower, letters) = (written.to_lowercase(), written.chars().count());
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(letters) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(did_you_mean("hubbel", ["hubble", "mtu"]), "did you mean `hubble`?");
        assert_eq!(did_you_mean("adress", ["address", "devices"]), "did you mean `address`?");
        assert_eq!(did_you_mean("zzz", ["address", "devices"]), "");
        // Distances are of letters, and not of their bytes.
        assert_eq!(did_you_mean("ähöü", ["mtuu"]), "");
    }
}
