//! Kinds without a rule of their own: the conditions and phases that
//! controllers use by convention.

use serde_json::Value;

use super::{Health, condition, said, text};

/// Conditions that say "ready", the strongest first.
const READY: &[&str] = &["Ready", "Available", "Healthy", "Established", "Succeeded", "Programmed"];

/// Phases that say "ready".
const READY_PHASES: &[&str] =
    &["Ready", "Running", "Active", "Available", "Bound", "Deployed", "Healthy", "Succeeded", "Completed"];

/// Judges an object by convention.
pub(super) fn conventional(object: &Value) -> Health {
    if object.get("status").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty) {
        return Health::Unknown;
    }
    if let Some((name, found)) = READY.iter().find_map(|name| Some((name, condition(object, name)?))) {
        return if found.is_true() { Health::Ready } else { Health::Progressing(said(object, name)) };
    }
    match text(object, "/status/phase").or_else(|| text(object, "/status/state")) {
        Some(phase) if READY_PHASES.contains(&phase) => Health::Ready,
        Some(phase) => Health::Progressing(format!("phase {phase}")),
        None => Health::Unknown,
    }
}
