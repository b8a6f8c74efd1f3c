//! Schemas elsewhere: what a chart's schema refers to by `http(s)://…` is copied
//! into it, so that what judges values stands alone. Documents are asked for:
//! there is no I/O. As Helm's compiler does, only what is referred to counts.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use jsonschema::{Uri, uri};
use referencing::meta;
use serde_json::{Map, Value};

use super::dialect::{NAMED, VALUES};

/// Where a chart's own schema is, for Helm.
const OWN: &str = "file:///values.schema.json";

/// Where the schemas of the standard drafts are.
const STANDARD: [&str; 2] = ["http://json-schema.org/", "https://json-schema.org/"];

/// Drafts in which keywords beside `$ref` do not count, and formats do.
const OLD: [&str; 4] = ["draft-03", "draft-04", "draft-06", "draft-07"];

/// The most documents that a schema may lead to.
const MOST_DOCUMENTS: usize = 64;

/// The most nodes that are copied.
const MOST_NODES: usize = 300_000;

/// How the copies are called.
const COPY: &str = "elsewhere-";

/// Keywords that name schemas, or hold some for those who name them.
const NAMES: [&str; 7] =
    ["$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$defs", "definitions"];

/// Keywords that hold a schema, or a list of them.
const INNER: [&str; 15] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "propertyNames",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Answers the document at a URL, where it is at hand.
pub(super) type Known<'a> = dyn FnMut(&str) -> Option<Rc<[u8]>> + 'a;

/// A schema that refers to nothing elsewhere, and the URLs of what is not at hand for it.
pub(super) struct Bundled {
    pub(super) schema: Value,
    pub(super) missing: BTreeSet<String>,
}

/// Copies into a schema what it refers to elsewhere.
pub(super) fn bundled(schema: Value, known: &mut Known<'_>) -> Result<Bundled, String> {
    let own_draft = schema.get("$schema").and_then(Value::as_str).is_none_or(is_standard);
    if own_draft && !refers_elsewhere(&schema) {
        return Ok(Bundled { schema, missing: BTreeSet::new() });
    }
    let root = Rc::new(Document::new(OWN, schema)?);
    let mut bundle = Bundle {
        known,
        is_new: root.is_new,
        documents: BTreeMap::from([(OWN.to_owned(), Rc::clone(&root))]),
        missing: BTreeSet::new(),
        copies: HashMap::new(),
        queue: VecDeque::new(),
        nodes: 0,
    };
    bundle.index(&root, String::new());
    let mut copies = Vec::new();
    while let Some((document, pointer)) = bundle.queue.pop_front() {
        copies.push(bundle.copy(&document, &pointer)?);
    }
    let draft = bundle.draft(&root)?;
    let mut copies = copies.into_iter();
    let mut schema = copies.next().unwrap_or_default();
    if let Value::Object(map) = &mut schema {
        map.extend(draft.map(|draft| ("$schema".to_owned(), Value::String(draft))));
        let named = copies.enumerate().map(|(index, copy)| (format!("{COPY}{}", index + 1), copy));
        map.insert(bundle.keyword().to_owned(), Value::Object(named.collect()));
    }
    Ok(Bundled { schema, missing: bundle.missing })
}

fn is_standard(url: &str) -> bool {
    !url.contains("://") || STANDARD.iter().any(|standard| url.starts_with(standard))
}

/// The schema of a standard draft, or of a part of one.
fn standard(url: &str) -> Option<&'static Value> {
    let path = STANDARD.iter().find_map(|standard| url.strip_prefix(standard))?;
    Some(match path {
        "draft-04/schema" => &meta::DRAFT4,
        "draft-06/schema" => &meta::DRAFT6,
        "draft-07/schema" => &meta::DRAFT7,
        "draft/2019-09/schema" => &meta::DRAFT201909,
        "draft/2019-09/meta/core" => &meta::DRAFT201909_CORE,
        "draft/2019-09/meta/applicator" => &meta::DRAFT201909_APPLICATOR,
        "draft/2019-09/meta/validation" => &meta::DRAFT201909_VALIDATION,
        "draft/2019-09/meta/meta-data" => &meta::DRAFT201909_META_DATA,
        "draft/2019-09/meta/format" => &meta::DRAFT201909_FORMAT,
        "draft/2019-09/meta/content" => &meta::DRAFT201909_CONTENT,
        "schema" | "draft/2020-12/schema" => &meta::DRAFT202012,
        "draft/2020-12/meta/core" => &meta::DRAFT202012_CORE,
        "draft/2020-12/meta/applicator" => &meta::DRAFT202012_APPLICATOR,
        "draft/2020-12/meta/unevaluated" => &meta::DRAFT202012_UNEVALUATED,
        "draft/2020-12/meta/validation" => &meta::DRAFT202012_VALIDATION,
        "draft/2020-12/meta/meta-data" => &meta::DRAFT202012_META_DATA,
        "draft/2020-12/meta/format-annotation" => &meta::DRAFT202012_FORMAT_ANNOTATION,
        "draft/2020-12/meta/content" => &meta::DRAFT202012_CONTENT,
        _ => return None,
    })
}

/// Whether there is any reference that is not to a place in the same document.
fn refers_elsewhere(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(refers_elsewhere),
        Value::Object(map) => map.iter().any(|(key, value)| match value {
            Value::String(text) => key == "$ref" && !text.starts_with('#'),
            other => refers_elsewhere(other),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A document of schemas.
struct Document {
    url: String,
    value: Value,
    /// Whether its draft is 2019-09 or later.
    is_new: bool,
    /// Pointers to its schemas by their URIs, and with `#` by their anchors.
    names: HashMap<String, String>,
    /// What references are relative to, by the pointer below which that is so; the root comes first.
    bases: Vec<(String, Uri<String>)>,
}

impl Document {
    fn new(url: &str, value: Value) -> Result<Self, String> {
        let draft = value.get("$schema").and_then(Value::as_str).unwrap_or_default();
        let is_new = !OLD.iter().any(|old| draft.contains(old));
        let base = uri::from_str(url).map_err(|error| error.to_string())?;
        let names = HashMap::from([(url.to_owned(), String::new())]);
        let bases = vec![(String::new(), base.clone())];
        let mut document = Self { url: url.to_owned(), value: Value::Null, is_new, names, bases };
        document.name(&value, "", &base, draft.contains("draft-04"))?;
        document.value = value;
        Ok(document)
    }

    /// Collects the names of a schema and of all within it.
    fn name(
        &mut self,
        schema: &Value,
        pointer: &str,
        base: &Uri<String>,
        draft_4: bool,
    ) -> Result<(), String> {
        let Value::Object(map) = schema else {
            if let Value::Array(items) = schema {
                for (index, item) in items.iter().enumerate() {
                    self.name(item, &format!("{pointer}/{index}"), base, draft_4)?;
                }
            }
            return Ok(());
        };
        let text = |key: &str| map.get(key).and_then(Value::as_str);
        let mut base = base.clone();
        if let Some(id) = text(if draft_4 { "id" } else { "$id" }) {
            let named = resolved(&base, id)?;
            self.names.insert(named.as_str().trim_end_matches('#').to_owned(), pointer.to_owned());
            // An anchor of older drafts is no base.
            if !id.starts_with('#') {
                self.bases.push((pointer.to_owned(), named.clone()));
                base = named;
            }
        }
        for anchor in ["$anchor", "$dynamicAnchor"].into_iter().filter_map(text) {
            let (url, _) = parts(base.as_str());
            self.names.insert(format!("{url}#{anchor}"), pointer.to_owned());
        }
        for (key, value) in map.iter().filter(|(key, _)| !VALUES.contains(&key.as_str())) {
            let pointer = format!("{pointer}/{}", escaped(key));
            match value {
                Value::Object(named) if NAMED.contains(&key.as_str()) => {
                    for (name, value) in named {
                        self.name(value, &format!("{pointer}/{}", escaped(name)), &base, draft_4)?;
                    }
                }
                value => self.name(value, &pointer, &base, draft_4)?,
            }
        }
        Ok(())
    }

    /// What the URI of the schema at a pointer is relative to, if it says one.
    fn base(&self, pointer: &str) -> Option<&Uri<String>> {
        if pointer.is_empty() {
            return self.bases.first().map(|(_, base)| base);
        }
        let within = |above: &str| pointer.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
        let above = self.bases.iter().filter(|(above, _)| within(above));
        above.max_by_key(|(above, _)| above.len()).map(|(_, base)| base)
    }

    /// The pointer to a schema with a URL, which is the document's or of a schema in it, and a fragment.
    fn pointer(&self, url: &str, fragment: &str) -> Option<String> {
        if fragment.is_empty() || fragment.starts_with('/') {
            let above = self.names.get(url).map_or("", String::as_str);
            return Some(format!("{above}{}", decoded(fragment)?));
        }
        self.names.get(&format!("{url}#{fragment}")).cloned()
    }
}

/// A URL and its fragment.
fn parts(uri: &str) -> (&str, &str) {
    uri.split_once('#').unwrap_or((uri, ""))
}

fn resolved(base: &Uri<String>, reference: &str) -> Result<Uri<String>, String> {
    uri::resolve_against(&base.borrow(), reference).map_err(|error| error.to_string())
}

/// A name as JSON pointers write it.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A fragment without `%20` and the like.
fn decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit()? << 4 | digit()?);
    }
    String::from_utf8(bytes).ok()
}

/// Copies of schemas, each with references to other copies only.
struct Bundle<'k> {
    known: &'k mut Known<'k>,
    /// Whether the draft of the chart's own schema is 2019-09 or later.
    is_new: bool,
    documents: BTreeMap<String, Rc<Document>>,
    missing: BTreeSet<String>,
    /// Numbers of copies by document and pointer; 0 is the chart's schema itself.
    copies: HashMap<(String, String), usize>,
    /// What is to be copied, in the order of the numbers.
    queue: VecDeque<(Rc<Document>, String)>,
    nodes: usize,
}

impl Bundle<'_> {
    /// Where the copies are.
    fn keyword(&self) -> &'static str {
        if self.is_new { "$defs" } else { "definitions" }
    }

    /// The standard draft that a document is written in, as it says itself or its draft's own schema does.
    fn draft(&mut self, document: &Document) -> Result<Option<String>, String> {
        let mut draft = document.value.get("$schema").and_then(Value::as_str).map(str::to_owned);
        for _ in 0..MOST_DOCUMENTS {
            let Some(url) = draft.as_deref().filter(|draft| !is_standard(draft)) else { return Ok(draft) };
            let Some(above) = self.document(parts(url).0)? else { return Ok(None) };
            draft = above.value.get("$schema").and_then(Value::as_str).map(str::to_owned);
        }
        Err("its `$schema` leads to no known draft".to_owned())
    }

    /// The document at a URL; nothing, where it is not at hand.
    fn document(&mut self, url: &str) -> Result<Option<Rc<Document>>, String> {
        if let Some(document) = self.documents.get(url) {
            return Ok(Some(Rc::clone(document)));
        }
        if let Some(draft) = standard(url) {
            let document = Rc::new(Document::new(url, draft.clone())?);
            self.documents.insert(url.to_owned(), Rc::clone(&document));
            return Ok(Some(document));
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!("the schema at {url} is not read: put it into values.schema.json"));
        }
        if self.documents.len() + self.missing.len() > MOST_DOCUMENTS {
            return Err(format!("it refers to more than {MOST_DOCUMENTS} documents"));
        }
        let Some(bytes) = (self.known)(url) else {
            self.missing.insert(url.to_owned());
            return Ok(None);
        };
        let wrong = |problem: String| format!("the schema at {url}: {problem}");
        super::weight::check_length(&bytes).map_err(wrong)?;
        let value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let document = Rc::new(Document::new(url, value).map_err(wrong)?);
        self.documents.insert(url.to_owned(), Rc::clone(&document));
        Ok(Some(document))
    }

    /// The number of a schema's copy.
    fn index(&mut self, document: &Rc<Document>, pointer: String) -> usize {
        let next = self.copies.len();
        let index = *self.copies.entry((document.url.clone(), pointer.clone())).or_insert(next);
        if index == next {
            self.queue.push_back((Rc::clone(document), pointer));
        }
        index
    }

    fn copy(&mut self, document: &Rc<Document>, pointer: &str) -> Result<Value, String> {
        let nowhere = || format!("`$ref: {}#{pointer}` leads nowhere", document.url);
        let schema = document.value.pointer(pointer).ok_or_else(nowhere)?;
        let base = document.base(pointer).ok_or_else(nowhere)?;
        self.schema(document, base, schema)
    }

    /// A copy of a schema without names, that refers to copies.
    fn schema(
        &mut self,
        document: &Rc<Document>,
        base: &Uri<String>,
        schema: &Value,
    ) -> Result<Value, String> {
        let Value::Object(map) = schema else { return self.value(schema) };
        let own = map.get("$id").and_then(Value::as_str).filter(|id| !id.starts_with('#'));
        let own = own.map(|id| resolved(base, id)).transpose()?;
        let base = own.as_ref().unwrap_or(base);
        self.count()?;
        let mut out = Map::new();
        for (key, value) in map {
            let copy = match (key.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    let reference = Value::String(self.refer(document, base, reference)?);
                    if !document.is_new {
                        return Ok(Value::Object(Map::from_iter([(key.clone(), reference)])));
                    }
                    reference
                }
                ("$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    if !map.contains_key("$ref") {
                        out.insert("$ref".to_owned(), Value::String(self.refer(document, base, reference)?));
                    }
                    continue;
                }
                (key, _) if key == "$schema" || NAMES.contains(&key) => continue,
                // Newer drafts do not judge formats.
                ("format", _) if document.is_new && !self.is_new => continue,
                (key, Value::Object(named)) if NAMED.contains(&key) => {
                    let copies = named
                        .iter()
                        .map(|(name, value)| Ok((name.clone(), self.schema(document, base, value)?)));
                    Value::Object(copies.collect::<Result<_, String>>()?)
                }
                (key, Value::Array(items)) if INNER.contains(&key) => {
                    let copies = items.iter().map(|item| self.schema(document, base, item));
                    Value::Array(copies.collect::<Result<_, String>>()?)
                }
                (key, value) if INNER.contains(&key) => self.schema(document, base, value)?,
                (_, value) => self.value(value)?,
            };
            out.insert(key.clone(), copy);
        }
        // Older drafts do not look at what is beside a reference.
        if !self.is_new
            && out.len() > 1
            && let Some(reference) = out.remove("$ref")
        {
            let reference = Map::from_iter([("$ref".to_owned(), reference)]);
            let both = [reference, out].map(Value::Object);
            return Ok(Value::Object(Map::from_iter([("allOf".to_owned(), Value::from(both.to_vec()))])));
        }
        Ok(Value::Object(out))
    }

    /// A copy of what is no schema.
    fn value(&mut self, value: &Value) -> Result<Value, String> {
        self.count()?;
        Ok(match value {
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.value(item)).collect::<Result<_, String>>()?)
            }
            Value::Object(map) => {
                let copies = map.iter().map(|(key, value)| Ok((key.clone(), self.value(value)?)));
                Value::Object(copies.collect::<Result<_, String>>()?)
            }
            plain => plain.clone(),
        })
    }

    fn count(&mut self) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes <= MOST_NODES {
            return Ok(());
        }
        Err(format!("what it refers to has more than {MOST_NODES} nodes"))
    }

    /// The reference to a copy for a reference of a document.
    fn refer(
        &mut self,
        document: &Rc<Document>,
        base: &Uri<String>,
        reference: &str,
    ) -> Result<String, String> {
        let target = resolved(base, reference)?;
        let (url, fragment) = parts(target.as_str());
        // URNs allow everything.
        if url.starts_with("urn:") {
            return Ok(reference.to_owned());
        }
        let document = if document.names.contains_key(url) {
            Rc::clone(document)
        } else {
            match self.document(url)? {
                Some(document) => document,
                None => return Ok(format!("urn:missing:{}", self.missing.len())),
            }
        };
        let nowhere = || format!("`$ref: {reference}` leads nowhere");
        let pointer = document.pointer(url, fragment).ok_or_else(nowhere)?;
        Ok(match self.index(&document, pointer) {
            0 => "#".to_owned(),
            index => format!("#/{}/{COPY}{index}", self.keyword()),
        })
    }
}
