//! Which lists and maps of a kind merge item by item, and which are replaced whole.
//! Only what differs from the default is kept: an unknown map merges, an unknown list is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::json;
use crate::types::{self, Form};

/// How a list merges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListShape {
    /// Replaced whole.
    #[default]
    Atomic,
    /// Items are themselves the keys.
    Set,
    /// Items have these keys; a missing one has the default.
    Map(Vec<(String, Option<Value>)>),
}

/// How a value and what is in it merges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// A map that is replaced whole.
    pub(crate) atomic: bool,
    pub(crate) list: ListShape,
    fields: BTreeMap<String, Arc<Self>>,
    /// A map whose fields are not all declared: those that are not are items of it.
    open: bool,
    /// The declared fields of an open map.
    declared: BTreeSet<String>,
    /// The shape of list items, and of a map's values.
    items: Option<Arc<Self>>,
}

static PLAIN: OnceLock<Arc<Shape>> = OnceLock::new();
static OPEN: OnceLock<Arc<Shape>> = OnceLock::new();

/// The shape of what no schema describes.
fn open() -> &'static Arc<Shape> {
    OPEN.get_or_init(|| Arc::new(Shape { open: true, ..Shape::default() }))
}

fn plain() -> &'static Arc<Shape> {
    PLAIN.get_or_init(Arc::default)
}

impl Shape {
    /// Answers the shape of a field.
    pub(crate) fn field(&self, name: &str) -> &Arc<Self> {
        let unknown = if self.is_item(name) { open() } else { plain() };
        self.fields.get(name).or(self.items.as_ref()).unwrap_or(unknown)
    }

    /// Tells whether a field is an item of a map, and no declared field.
    pub(crate) fn is_item(&self, name: &str) -> bool {
        self.open && !self.declared.contains(name)
    }

    /// Answers the shape of a list's items.
    pub(crate) fn items(&self) -> &Arc<Self> {
        self.items.as_ref().unwrap_or_else(|| plain())
    }

    fn is_plain(&self) -> bool {
        !self.atomic
            && !self.open
            && self.list == ListShape::Atomic
            && self.fields.is_empty()
            && self.items.is_none()
    }

    fn set(&mut self, field: &str, shape: Self) {
        if !shape.is_plain() {
            self.fields.insert(field.to_owned(), Arc::new(shape));
        }
    }
}

/// Answers the shape of a built-in kind.
pub(crate) fn shape_of_builtin(kind: &str) -> Arc<Shape> {
    static SHAPES: OnceLock<BTreeMap<&str, Arc<Shape>>> = OnceLock::new();
    SHAPES.get_or_init(read_builtin).get(kind).unwrap_or_else(|| metadata()).clone()
}

/// The shape of kinds of which nothing but their metadata is known.
fn metadata() -> &'static Arc<Shape> {
    static METADATA: OnceLock<Arc<Shape>> = OnceLock::new();
    METADATA.get_or_init(|| {
        let mut shape = Shape::default();
        shape.fields.insert("metadata".to_owned(), shape_of_builtin("ObjectMeta"));
        Arc::new(shape)
    })
}

fn read_builtin() -> BTreeMap<&'static str, Arc<Shape>> {
    let mut done = BTreeMap::new();
    for name in types::types().keys() {
        read_type(name, &mut done);
    }
    done
}

fn read_type(name: &'static str, done: &mut BTreeMap<&'static str, Arc<Shape>>) -> Arc<Shape> {
    if let Some(shape) = done.get(name) {
        return shape.clone();
    }
    // A schema holds schemas: in them all maps merge and all lists are replaced, as the default has it.
    done.insert(name, plain().clone());
    let mut shape = Shape::default();
    for (field, kind) in types::fields(name).into_iter().flatten() {
        shape.set(field, read_form(&kind.form, done));
    }
    let shape = Arc::new(shape);
    done.insert(name, shape.clone());
    shape
}

fn read_form(form: &Form, done: &mut BTreeMap<&'static str, Arc<Shape>>) -> Shape {
    let inner = |form: &Form, done: &mut BTreeMap<&'static str, Arc<Shape>>| {
        let inner = read_form(form, done);
        (!inner.is_plain()).then(|| Arc::new(inner))
    };
    match form {
        Form::Struct { name, atomic } => Shape { atomic: *atomic, ..Shape::clone(&read_type(name, done)) },
        Form::List { keys, items } => {
            Shape { list: list_shape(keys), items: inner(items, done), ..Shape::default() }
        }
        Form::Map { atomic, values } => {
            Shape { atomic: *atomic, items: inner(values, done), ..Shape::default() }
        }
        Form::Any => Shape { atomic: true, ..Shape::default() },
        Form::Text
        | Form::Integer(_)
        | Form::Boolean
        | Form::Number
        | Form::Quantity
        | Form::IntegerOrText
        | Form::Time { .. }
        | Form::Bytes => Shape::default(),
    }
}

/// Reads the keys of a list in the table of types.
pub(crate) fn list_shape(keys: &str) -> ListShape {
    match keys {
        "" => return ListShape::Atomic,
        "=" => return ListShape::Set,
        _ => {}
    }
    let keys = keys.split(',').map(|key| match key.split_once('=') {
        Some((key, default)) => (key.to_owned(), Some(Value::from(default))),
        None => (key.to_owned(), None),
    });
    ListShape::Map(keys.collect())
}

/// Answers how a list of a CRD's schema merges.
pub(crate) fn list_shape_of_schema(schema: &Value) -> ListShape {
    match (json::text(schema, &["x-kubernetes-list-type"]), schema.get("items")) {
        ("set", _) => ListShape::Set,
        ("map", Some(items)) => ListShape::Map(map_keys(schema, items)),
        _ => ListShape::Atomic,
    }
}

/// Answers the shape that a CRD's schema gives a kind.
pub(crate) fn shape_of_schema(schema: Option<&Value>) -> Arc<Shape> {
    let mut shape = schema.map(of_schema).unwrap_or_default();
    shape.fields.insert("metadata".to_owned(), shape_of_builtin("ObjectMeta"));
    shape.declared.extend(["apiVersion", "kind", "metadata"].map(str::to_owned));
    Arc::new(shape)
}

fn of_schema(schema: &Value) -> Shape {
    let mut shape = Shape {
        atomic: schema.get("x-kubernetes-map-type").is_some_and(|kind| kind == "atomic"),
        ..Shape::default()
    };
    if let Some(items) = schema.get("items") {
        shape.list = list_shape_of_schema(schema);
        let inner = of_schema(items);
        shape.items = (!inner.is_plain()).then(|| Arc::new(inner));
    } else if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        let inner = of_schema(values);
        shape.items = (!inner.is_plain()).then(|| Arc::new(inner));
    }
    shape.open = schema.get("x-kubernetes-preserve-unknown-fields").is_some_and(|it| it == true);
    for (field, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if shape.open {
            shape.declared.insert(field.clone());
        }
        shape.set(field, of_schema(schema));
    }
    shape
}

fn map_keys(schema: &Value, items: &Value) -> Vec<(String, Option<Value>)> {
    let keys = json::items(schema, "x-kubernetes-list-map-keys").iter().filter_map(Value::as_str);
    keys.map(|key| (key.to_owned(), json::at(items, &["properties", key, "default"]).cloned())).collect()
}
