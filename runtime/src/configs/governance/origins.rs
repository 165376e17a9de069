//! The offices that a referendum can act as, beside root.

pub use pallet::*;

/// Holds the origins and nothing else.
#[polkadot_sdk::frame_support::pallet]
pub mod pallet {
    use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
    use frame_support::traits::EnsureOrigin;
    use polkadot_sdk::*;
    use scale_info::TypeInfo;

    use crate::{constants::money::OPEN, Balance};

    #[pallet::config]
    pub trait Config: polkadot_sdk::frame_system::Config {}

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// An office. Each has a track of its own.
    #[derive(
        PartialEq,
        Eq,
        Clone,
        Copy,
        Debug,
        Encode,
        Decode,
        DecodeWithMemTracking,
        MaxEncodedLen,
        TypeInfo,
    )]
    #[pallet::origin]
    pub enum Origin {
        /// Spends from the treasury, up to [`MAX_SPEND`] at a time.
        TreasurySpender,
        /// Cancels referenda and slashes, and decides on disputes of the pallets.
        GeneralAdmin,
        /// Sets the parameters of the economy: splits, shares, limits.
        ParameterAdmin,
    }

    /// The most that a treasury spender can spend at a time; beyond it, root has to.
    pub const MAX_SPEND: Balance = 1_000_000 * OPEN;

    macro_rules! ensure_office {
        ($(#[$doc:meta])* $name:ident: $success:ty = $value:expr) => {
            $(#[$doc])*
            pub struct $name;
            impl<O> EnsureOrigin<O> for $name
            where
                O: Into<Result<Origin, O>> + From<Origin>,
            {
                type Success = $success;

                fn try_origin(o: O) -> Result<Self::Success, O> {
                    o.into().and_then(|origin| match origin {
                        Origin::$name => Ok($value),
                        other => Err(O::from(other)),
                    })
                }

                #[cfg(feature = "runtime-benchmarks")]
                fn try_successful_origin() -> Result<O, ()> {
                    Ok(O::from(Origin::$name))
                }
            }
        };
    }

    ensure_office! {
        /// Lets the treasury spender pass, with the most that may be spent.
        TreasurySpender: Balance = MAX_SPEND
    }
    ensure_office! {
        /// Lets the general admin pass.
        GeneralAdmin: () = ()
    }
    ensure_office! {
        /// Lets the parameter admin pass.
        ParameterAdmin: () = ()
    }
}
