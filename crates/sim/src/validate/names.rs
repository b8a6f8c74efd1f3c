//! Names as Kubernetes allows them, in the words of `k8s.io/apimachinery/pkg/util/validation`.

use serde_json::Value;

use crate::json;
use crate::status::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
pub(super) const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
    and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and \
    end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
    'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn too_long(text: &str, most: usize) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} bytes"))
}

/// Tells whether a text is a DNS label, but for its length.
pub(super) fn is_label(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || c == '-')
}

fn is_word(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || ['-', '_', '.'].contains(&c))
}

/// Says what is wrong with a DNS label.
pub(super) fn label(text: &str) -> Vec<String> {
    let wrong = (!is_label(text)).then(|| LABEL.to_owned());
    too_long(text, 63).into_iter().chain(wrong).collect()
}

/// Says what is wrong with a DNS name.
pub(super) fn subdomain(text: &str) -> Vec<String> {
    let wrong = (!text.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned());
    too_long(text, 253).into_iter().chain(wrong).collect()
}

/// Says what is wrong with a name that may hold nearly anything, as those of RBAC may.
pub(super) fn segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    let wrong = ["/", "%"].into_iter().filter(|part| text.contains(part));
    wrong.map(|part| format!("may not contain '{part}'")).collect()
}

/// Says what is wrong with a qualified name, such as the key of an annotation: `name`, or `prefix/name`.
pub(super) fn qualified(text: &str) -> Vec<String> {
    of(text, "qualified name")
}

fn of(text: &str, what: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(subdomain(prefix).into_iter().map(|why| format!("prefix part {why}")));
            }
            *name
        }
        _ => return vec![format!("a {what} {QUALIFIED}")],
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else {
        wrong.extend(too_long(name, 63).map(|why| format!("name part {why}")));
    }
    if !is_word(name) {
        wrong.push(format!("name part {NAME}"));
    }
    wrong
}

fn label_value(text: &str) -> Vec<String> {
    let wrong = (!text.is_empty() && !is_word(text)).then(|| LABEL_VALUE.to_owned());
    too_long(text, 63).into_iter().chain(wrong).collect()
}

/// Says what is wrong with the labels of an object, or of a template.
pub(super) fn labels(object: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (name, value) in json::labels(object) {
        let mut say = |text: &str, why: &str| causes.push(Cause::invalid(field, &Value::from(text), why));
        for why in of(&name, "valid label key") {
            say(&name, &why);
        }
        for why in label_value(&value) {
            say(&value, &why);
        }
    }
    causes
}

/// Says what is wrong with the names of annotations.
pub(super) fn annotations(object: &Value, field: &str) -> Vec<Cause> {
    let map = json::at(object, &["metadata", "annotations"]).and_then(Value::as_object);
    let names = map.into_iter().flat_map(|map| map.keys());
    let wrong =
        names.flat_map(|name| qualified(&name.to_lowercase()).into_iter().map(move |why| (name, why)));
    wrong.map(|(name, why)| Cause::invalid(field, &Value::from(name.as_str()), &why)).collect()
}
