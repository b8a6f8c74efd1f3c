//! sprig's questions about types.

use super::Type::{Any, Text};
use super::{Function, arg, fixed, text, walking};
use crate::value::{Value, deep_equal};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("typeOf", &[Any], |_, a| Ok(Value::text(arg(a, 0).type_name()))),
    fixed("typeIs", &[Text, Any], |_, a| Ok(Value::Bool(text(a, 0) == arg(a, 1).type_name()))),
    fixed("typeIsLike", &[Text, Any], |_, a| {
        let name = arg(a, 1).type_name();
        Ok(Value::Bool(text(a, 0) == name || name.strip_prefix('*') == Some(text(a, 0).as_ref())))
    }),
    fixed("kindOf", &[Any], |_, a| Ok(Value::text(arg(a, 0).kind()))),
    fixed("kindIs", &[Text, Any], |_, a| Ok(Value::Bool(text(a, 0) == arg(a, 1).kind()))),
    walking("deepEqual", &[Any, Any], |_, a| Ok(Value::Bool(deep_equal(arg(a, 0), arg(a, 1))))),
];
