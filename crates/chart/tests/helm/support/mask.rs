//! Passwords, certificates and times differ from run to run. Where Helm
//! differs from itself, only the shape of what we print is compared.

use super::job::Answer;

/// Both sides with what differs between two runs of Helm masked.
pub(crate) fn alike(helm: &Answer, again: &Answer, ours: &Answer) -> (Answer, Answer) {
    if helm == again {
        return (helm.clone(), ours.clone());
    }
    let mut left = helm.clone();
    let mut right = ours.clone();
    if let (Some(one), Some(two), Some(mine)) = (&helm.output, &again.output, &ours.output) {
        let (one, mine) = masked(one, two, mine);
        left.output = Some(one);
        right.output = Some(mine);
    }
    if let (Some(one), Some(two), Some(mine)) = (&helm.notes, &again.notes, &ours.notes) {
        let (one, mine) = masked(one, two, mine);
        left.notes = Some(one);
        right.notes = Some(mine);
    }
    (left, right)
}

fn masked(one: &str, two: &str, mine: &str) -> (String, String) {
    let (one, two, mine) = (without_pem(one), without_pem(two), without_pem(mine));
    let (one, two): (Vec<_>, Vec<_>) = (one.lines().collect(), two.lines().collect());
    let mut mine: Vec<String> = mine.lines().map(str::to_owned).collect();
    let mut left: Vec<String> = one.iter().map(|line| (*line).to_owned()).collect();
    if one.len() == two.len() {
        for (index, line) in one.iter().enumerate() {
            if *line == two[index] {
                continue;
            }
            left[index] = shape(line, two[index]);
            if let Some(own) = mine.get_mut(index) {
                *own = shape(own, two[index]);
            }
        }
    }
    (left.join("\n"), mine.join("\n"))
}

/// The common start of two lines, and what kind of text follows.
fn shape(line: &str, other: &str) -> String {
    let same = line.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let kept: String = line.chars().take(same.min(line.find(": ").map_or(0, |at| at + 2))).collect();
    let rest = line.chars().count().saturating_sub(kept.chars().count());
    // base64 of a certificate varies by a few bytes
    format!("{kept}<random, about {}>", if rest > 200 { "long".to_owned() } else { rest.to_string() })
}

/// Replaces the inside of PEM blocks, whose count of lines may vary.
fn without_pem(text: &str) -> String {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.contains("-----END ") {
            inside = false;
        }
        if !inside {
            lines.push(line);
        }
        if line.contains("-----BEGIN ") && !line.contains("-----END ") {
            inside = true;
        }
    }
    lines.join("\n")
}
