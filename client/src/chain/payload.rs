//! Encoded calls, as subxt takes them.

use crate::{calls::Call, chain::ChainError};
use subxt::{
    ext::{
        scale_decode::DecodeAsFields,
        scale_encode::{self, EncodeAsFields, FieldIter},
        scale_type_resolver::TypeResolver,
        scale_value::Composite,
    },
    tx, Metadata,
};

/// A call with its arguments, encoded and checked against a chain's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallData {
    pallet: String,
    call: String,
    bytes: Vec<u8>,
}

impl CallData {
    /// Encodes a call for the chain of this metadata.
    pub(crate) fn new<C: Call>(call: &C, metadata: &Metadata) -> Result<Self, ChainError> {
        let missing = || ChainError::NoSuchCall { pallet: C::PALLET.into(), call: C::NAME.into() };
        let pallet = metadata.pallet_by_name(C::PALLET).ok_or_else(missing)?;
        let variant = pallet.call_variant_by_name(C::NAME).ok_or_else(missing)?;
        let mut bytes = vec![pallet.call_index(), variant.index];
        call.encode_to(&mut bytes);
        Self::from_bytes(bytes, metadata)
    }

    /// Takes encoded call data, and checks that it is a call of the chain of this metadata.
    pub(crate) fn from_bytes(bytes: Vec<u8>, metadata: &Metadata) -> Result<Self, ChainError> {
        let &[pallet_index, call_index, ref args @ ..] = bytes.as_slice() else {
            return Err(ChainError::Args {
                call: "the call".into(),
                reason: "it is shorter than two bytes".into(),
            });
        };
        let missing = || ChainError::NoSuchCall {
            pallet: format!("number {pallet_index}"),
            call: format!("number {call_index}"),
        };
        let pallet = metadata.pallet_by_call_index(pallet_index).ok_or_else(missing)?;
        let variant = pallet.call_variant_by_index(call_index).ok_or_else(missing)?;
        let wrong = |reason: String| ChainError::Args {
            call: format!("{}::{}", pallet.name(), variant.name),
            reason,
        };
        let mut rest = args;
        let mut fields = variant
            .fields
            .iter()
            .map(|field| subxt::ext::scale_decode::Field::new(field.ty.id, field.name.as_deref()));
        Composite::<()>::decode_as_fields(&mut rest, &mut fields, metadata.types())
            .map_err(|error| wrong(error.to_string()))?;
        if !rest.is_empty() {
            return Err(wrong(format!("{} bytes are left over", rest.len())));
        }
        let (pallet, call) = (pallet.name().to_string(), variant.name.clone());
        Ok(Self { pallet, call, bytes })
    }

    /// The encoded call: pallet index, call index, arguments.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Name of the pallet.
    pub fn pallet(&self) -> &str {
        &self.pallet
    }

    /// Name of the call.
    pub fn call(&self) -> &str {
        &self.call
    }

    pub(crate) fn payload(&self) -> Payload {
        Payload {
            pallet: self.pallet.clone(),
            call: self.call.clone(),
            args: RawArgs(self.bytes.get(2..).unwrap_or_default().to_vec()),
        }
    }
}

/// Arguments that are already encoded.
pub(crate) struct RawArgs(Vec<u8>);

impl EncodeAsFields for RawArgs {
    fn encode_as_fields_to<R: TypeResolver>(
        &self,
        _fields: &mut dyn FieldIter<'_, R::TypeId>,
        _types: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), scale_encode::Error> {
        out.extend_from_slice(&self.0);
        Ok(())
    }
}

/// [`CallData`] as subxt's transactions take it.
pub(crate) struct Payload {
    pallet: String,
    call: String,
    args: RawArgs,
}

impl tx::Payload for Payload {
    type CallData = RawArgs;

    fn pallet_name(&self) -> &str {
        &self.pallet
    }

    fn call_name(&self) -> &str {
        &self.call
    }

    fn call_data(&self) -> &RawArgs {
        &self.args
    }
}
