//! What is wrong with a `CronJob`'s schedule, in the words of `github.com/robfig/cron`, which the API server asks.

/// A field's least and largest value, and the names of its values from the least on.
type Bounds = (u32, u32, &'static [&'static str]);

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Minute, hour, day of the month, month, day of the week.
const FIELDS: [Bounds; 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, MONTHS), (0, 6, DAYS)];

const NAMED: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Says what is wrong with a schedule; `None`: nothing.
pub(super) fn mistake(schedule: &str) -> Option<String> {
    let zone = schedule.strip_prefix("TZ=").or_else(|| schedule.strip_prefix("CRON_TZ="));
    // Zones are not looked up: they are refused where they stand, anyway.
    let schedule = zone.map_or(schedule, |rest| rest.split_once(' ').map_or("", |(_, rest)| rest.trim()));
    if schedule.starts_with('@') {
        return descriptor(schedule);
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let mut both = fields.iter().zip(FIELDS);
    both.find_map(|(field, bounds)| {
        field.split(',').filter(|range| !range.is_empty()).find_map(|expr| range(expr, bounds).err())
    })
}

fn descriptor(text: &str) -> Option<String> {
    if NAMED.contains(&text) {
        return None;
    }
    let Some(span) = text.strip_prefix("@every ") else {
        return Some(format!("unrecognized descriptor: {text}"));
    };
    is_duration(span).err().map(|why| format!("failed to parse duration {text}: {why}"))
}

/// Whether a text is a duration as Go reads it: `1h30m`.
fn is_duration(text: &str) -> Result<(), String> {
    let bad = || format!("time: invalid duration {text:?}");
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest == "0" {
        return Ok(());
    }
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        if !digits.contains(|c: char| c.is_ascii_digit()) {
            return Err(bad());
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        if !["ns", "us", "µs", "μs", "ms", "s", "m", "h"].contains(&unit) {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        }
        rest = next;
    }
    Ok(())
}

/// Reads `number[-number][/step]`, or `*`.
fn range(expr: &str, (least, most, names): Bounds) -> Result<(), String> {
    let (mut parts, mut start, mut end) = (expr.split('/'), least, most);
    let ends: Vec<&str> = parts.next().unwrap_or_default().split('-').collect();
    match ends.as_slice() {
        ["*" | "?", ..] => {}
        [one] => {
            start = value(one, least, names)?;
            end = start;
        }
        [from, to] => (start, end) = (value(from, least, names)?, value(to, least, names)?),
        _ => return Err(format!("too many hyphens: {expr}")),
    }
    let steps: Vec<&str> = parts.collect();
    let step = match steps.as_slice() {
        [] => 1,
        [step] => {
            let step = number(step)?;
            if ends.len() == 1 {
                end = most;
            }
            step
        }
        _ => return Err(format!("too many slashes: {expr}")),
    };
    if start < least {
        return Err(format!("beginning of range ({start}) below minimum ({least}): {expr}"));
    }
    if end > most {
        return Err(format!("end of range ({end}) above maximum ({most}): {expr}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {expr}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {expr}"));
    }
    Ok(())
}

fn value(text: &str, least: u32, names: &[&str]) -> Result<u32, String> {
    let known = names.iter().zip(least..).find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map_or_else(|| number(text), |(_, value)| Ok(value))
}

fn number(text: &str) -> Result<u32, String> {
    let found: Result<i64, _> = text.parse();
    match found {
        Ok(found) if found < 0 => Err(format!("negative number ({found}) not allowed: {text}")),
        // Larger ones are above every maximum.
        Ok(found) => Ok(u32::try_from(found).unwrap_or(u32::MAX)),
        Err(_) => {
            Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
        }
    }
}
