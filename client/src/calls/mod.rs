//! Every call of the chain's own pallets, and a few of the SDK's, as a struct.
//!
//! The fields of each struct are the arguments of the call, in order, so that its SCALE encoding
//! is the arguments'. Pallet and call indices are looked up by name in the live metadata when it
//! is submitted.

pub mod attribution;
pub mod compute;
pub mod datanets;
pub mod marketplace;
pub mod stakes;
pub mod system;
pub mod token;

use codec::Encode;

/// A call of the chain. Its encoding is that of its arguments.
pub trait Call: Encode {
    /// Name of the pallet in the runtime.
    const PALLET: &'static str;
    /// Name of the call in the pallet.
    const NAME: &'static str;
}

macro_rules! calls {
    ($pallet:literal: $(
        $(#[$doc:meta])*
        $name:literal $struct:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, codec::Encode)]
        pub struct $struct { $($(#[$field_doc])* pub $field: $type),* }

        impl $crate::calls::Call for $struct {
            const PALLET: &'static str = $pallet;
            const NAME: &'static str = $name;
        }
    )*};
}
pub(crate) use calls;
