//! What this pallet needs of others.

use tributary_primitives::Subject;

/// Knows which subjects there are.
pub trait Subjects {
    /// Whether the subject exists and can be staked behind.
    fn exists(subject: &Subject) -> bool;
}
