//! Renders Helm charts exactly as Helm does.
