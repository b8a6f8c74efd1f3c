//! What Helm reads of a document: its kind, its name, its annotations.

use std::borrow::Cow;

use cozy_yaml::{Properties, Style, Visitor};

use crate::value::Value;
use crate::yaml;

/// What Helm reads of a document.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Head {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) annotations: Vec<(String, String)>,
}

impl Head {
    /// Reads the first document of a text.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match Skim::head(text) {
            Some(head) => Ok(head),
            None => Self::read_whole(text),
        }
    }

    /// Reads a document by making values of all that it holds.
    fn read_whole(text: &str) -> Result<Self, String> {
        let value = yaml::read_typed(text, true)?;
        let mut head = Self::default();
        let document = match &value {
            Value::Map(map) => map,
            value if value.is_nil() => return Ok(head),
            other => return Err(format!("a document is to be a map, not {}", other.kind())),
        };
        for (key, value) in document.entries() {
            match key.to_ascii_lowercase().as_str() {
                _ if value.is_nil() => {}
                "apiversion" => head.api_version = string(&value, "apiVersion")?,
                "kind" => head.kind = string(&value, "kind")?,
                "metadata" => head.read_metadata(&value)?,
                _ => {}
            }
        }
        Ok(head)
    }

    fn read_metadata(&mut self, value: &Value) -> Result<(), String> {
        let Some(metadata) = value.as_map() else { return Err("metadata is to be a map".to_owned()) };
        for (key, value) in metadata.entries() {
            match key.to_ascii_lowercase().as_str() {
                _ if value.is_nil() => {}
                "name" => self.name = string(&value, "metadata.name")?,
                "annotations" => {
                    let Some(all) = value.as_map() else {
                        return Err("metadata.annotations is to be a map".to_owned());
                    };
                    for (name, value) in all.entries() {
                        let text =
                            if value.is_nil() { String::new() } else { string(&value, "an annotation")? };
                        self.annotations.push((name.to_string(), text));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn string(value: &Value, place: &str) -> Result<String, String> {
    crate::chart::scalar_text(value).ok_or_else(|| format!("{place} is to be a string, not {}", value.kind()))
}

/// Reads the head of a usual document without making values of the rest, most
/// of which Helm never looks at. A document with anchors, tags, keys that are
/// no text or come twice, or anything that is refused is given up: it is to be
/// read whole.
#[derive(Default)]
struct Skim<'a> {
    head: Head,
    /// The collections around what comes next.
    open: Vec<Open>,
    /// The key whose value comes next, in the mappings that are looked at.
    key: Option<Cow<'a, str>>,
    /// Keys of the mappings that are looked at, each in its own.
    seen: [Vec<Cow<'a, str>>; 3],
    ended: bool,
}

/// A collection that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    List,
    /// A mapping, and whether a key comes next.
    Map(Role, bool),
}

/// What a mapping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Document = 0,
    Metadata = 1,
    Annotations = 2,
    Other = 3,
}

/// The document is to be read whole.
fn given_up() -> String {
    String::new()
}

impl Skim<'_> {
    fn head(text: &str) -> Option<Head> {
        let mut skim = Skim::default();
        let read = cozy_yaml::read(text, yaml::DEEPEST, &mut skim);
        // Helm does not look at what follows the first document.
        if read.is_err() && !skim.ended {
            return None;
        }
        skim.head.annotations.sort();
        Some(skim.head)
    }
}

impl<'a> Skim<'a> {
    /// A node begins that is no key.
    fn begins(&mut self, properties: &Properties<'a>) -> Result<(), String> {
        if self.ended || *properties != Properties::default() {
            return Err(given_up());
        }
        Ok(())
    }

    /// A node has ended.
    fn ends(&mut self) {
        if let Some(Open::Map(_, key_next)) = self.open.last_mut() {
            *key_next = true;
        }
    }

    fn key(&mut self, role: Role, text: Cow<'a, str>, plain: bool) -> Result<(), String> {
        // Elsewhere a key may be what goyaml takes for a number, or for true or false.
        let is_key = if role == Role::Other { yaml::is_key(&text) } else { yaml::is_text(&text) };
        if plain && (&*text == "<<" || !is_key) {
            return Err(given_up());
        }
        if let Some(seen) = self.seen.get_mut(role as usize) {
            let wanted: &[&str] = match role {
                Role::Document => &["apiVersion", "kind", "metadata"],
                Role::Metadata => &["name", "annotations"],
                Role::Annotations | Role::Other => &[],
            };
            // Go takes keys in any case, and the last of several.
            let odd = wanted.iter().any(|wanted| *wanted != text && wanted.eq_ignore_ascii_case(&text));
            if odd || seen.contains(&text) {
                return Err(given_up());
            }
            if role == Role::Annotations || wanted.contains(&&*text) {
                seen.push(text.clone());
            }
            self.key = Some(text);
        }
        if let Some(Open::Map(_, key_next)) = self.open.last_mut() {
            *key_next = false;
        }
        Ok(())
    }

    /// A scalar that is the value of a key of the document, its metadata or annotations.
    fn looked_at(&mut self, role: Role, text: Cow<'a, str>, plain: bool) -> Result<(), String> {
        let key = self.key.take().unwrap_or_default();
        let head = &mut self.head;
        let place = match (role, &*key) {
            (Role::Document, "apiVersion") => Some(&mut head.api_version),
            (Role::Document, "kind") => Some(&mut head.kind),
            (Role::Metadata, "name") => Some(&mut head.name),
            (Role::Annotations, _) => {
                head.annotations.push((key.into_owned(), String::new()));
                head.annotations.last_mut().map(|(_, value)| value)
            }
            (Role::Document, "metadata") | (Role::Metadata, "annotations") => {
                return if yaml::scalar(&text, plain)?.is_nil() { Ok(()) } else { Err(given_up()) };
            }
            _ => None,
        };
        match place {
            None if plain && !yaml::is_finite(&text) => return Err(given_up()),
            None => {}
            Some(place) if !plain || yaml::is_text(&text) => *place = text.into_owned(),
            Some(place) => {
                let value = yaml::scalar(&text, plain)?;
                if !value.is_nil() {
                    *place = string(&value, "")?;
                }
            }
        }
        Ok(())
    }

    /// What the mapping that begins here is.
    fn role(&mut self) -> Role {
        let Some(Open::Map(within, _)) = self.open.last() else {
            return if self.open.is_empty() { Role::Document } else { Role::Other };
        };
        match (within, self.key.take().as_deref()) {
            (Role::Document, Some("metadata")) => Role::Metadata,
            (Role::Metadata, Some("annotations")) => Role::Annotations,
            _ => Role::Other,
        }
    }

    /// Refuses a collection where the head has text.
    fn collection(&mut self) -> Result<(), String> {
        let within = self.open.last();
        let text = match (within, self.key.as_deref()) {
            (Some(Open::Map(_, true) | Open::Map(Role::Annotations, _)), _) => true,
            (Some(Open::Map(Role::Document, _)), Some(key)) => matches!(key, "apiVersion" | "kind"),
            (Some(Open::Map(Role::Metadata, _)), Some(key)) => key == "name",
            _ => false,
        };
        if text { Err(given_up()) } else { Ok(()) }
    }
}

impl<'a> Visitor<'a> for Skim<'a> {
    fn document(&mut self, _: u64) {}

    fn document_end(&mut self) {
        self.ended = true;
    }

    fn wants_text(&self) -> bool {
        !matches!(self.open.last(), Some(Open::List | Open::Map(Role::Other, false)))
    }

    fn scalar(&mut self, text: Cow<'a, str>, style: Style, properties: Properties<'a>) -> Result<(), String> {
        self.begins(&properties)?;
        let plain = style == Style::Plain;
        match self.open.last().copied() {
            Some(Open::Map(role, true)) => return self.key(role, text, plain),
            Some(Open::Map(role, false)) if role != Role::Other => {
                self.looked_at(role, text, plain)?;
            }
            // A document that is a scalar is refused, unless it is nothing.
            None if !(plain && text.is_empty()) => return Err(given_up()),
            _ if plain && !yaml::is_finite(&text) => return Err(given_up()),
            _ => {}
        }
        self.ends();
        Ok(())
    }

    fn sequence(&mut self, properties: Properties<'a>) -> Result<(), String> {
        self.begins(&properties)?;
        self.collection()?;
        let metadata = matches!(self.key.as_deref(), Some("metadata" | "annotations"))
            && matches!(self.open.last(), Some(Open::Map(Role::Document | Role::Metadata, _)));
        if self.open.is_empty() || metadata {
            return Err(given_up());
        }
        self.key = None;
        self.open.push(Open::List);
        Ok(())
    }

    fn sequence_end(&mut self) -> Result<(), String> {
        self.open.pop();
        self.ends();
        Ok(())
    }

    fn mapping(&mut self, properties: Properties<'a>) -> Result<(), String> {
        self.begins(&properties)?;
        self.collection()?;
        let role = self.role();
        self.open.push(Open::Map(role, true));
        Ok(())
    }

    fn mapping_end(&mut self) -> Result<(), String> {
        self.open.pop();
        self.ends();
        Ok(())
    }

    fn alias(&mut self, _: &'a str) -> Result<(), String> {
        Err(given_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is skimmed is what reading the whole document gives.
    #[test]
    fn skimmed_heads_are_those_of_whole_documents() {
        let documents = [
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  annotations: {b: c, 1: 2, d: ~, e: yes}\ndata: {x: [1, {y: z}]}\n",
            "kind: A\nmetadata: {name: 5}\n",
            "kind: 1.5\nmetadata: {name: yes, annotations: {}}\n---\n]",
            "kind: ~\nmetadata: ~\n",
            "# nothing\n",
            "",
            "---\n",
            "text",
            "~",
            "[a]",
            "a: .inf",
            "a: [.nan]",
            "a: {b: -.inf}",
            "kind: .inf",
            "kind: [a]",
            "kind: {a: b}",
            "metadata: a",
            "metadata: [a]",
            "metadata: {name: {a: b}}",
            "metadata: {annotations: [a]}",
            "metadata: {annotations: {a: {b: c}}}",
            "metadata: {annotations: {a: [b]}}",
            "metadata: {annotations: a}",
            "a: {metadata: [b], annotations: c}",
            "a: {metadata: {annotations: {helm.sh/hook: x}}}",
            "kind: a\nKind: b\n",
            "kind: a\nkind: b\n",
            "kind: a\nkind: ~\n",
            "metadata: {name: a}\nmetadata: {annotations: {b: c}}\n",
            "metadata: {name: a, annotations: {b: c, b: d}}\n",
            "metadata: &m {name: a}\nother: *m\n",
            "<<: {kind: a}\n",
            "a: {<<: b}",
            "a: {~: b}",
            "{a: b}: c",
            "a: !!int x",
            "a: !!str x\nkind: !!str 5\n",
            "? [a]\n: b\n",
            "1: a\nkind: 0x1F\n",
            "a: {n: 1, 5: 2, 1.5: 3, 18446744073709551615: 4, .inf: 5}",
            "a: {n: 1, 5: 2, 1.5: 3}\nkind: b",
            "kind: a\n  b: c\n",
            "kind: 2001-01-01\n",
            "apiVersion: v1\nmetadata:\n- name: a\n",
            "kind: \"a\\nb\"\nmetadata: {name: 'x', namespace: {}}",
        ];
        for text in documents {
            let whole = Head::read_whole(text);
            if let Some(head) = Skim::head(text) {
                assert_eq!(Ok(head), whole, "{text:?}");
            }
            assert_eq!(Head::read(text), whole, "{text:?}");
        }
        let usual = documents.iter().filter(|text| Skim::head(text).is_some()).count();
        assert!(usual >= 10, "{usual} are skimmed");
    }
}
