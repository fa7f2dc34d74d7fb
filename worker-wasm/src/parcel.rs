//! The form of a message between hub and compute worker for `postMessage`: an array of the header
//! (`Uint8Array`) and the payload (`ArrayBuffer`), whose buffers are transferred instead of copied.

use js_sys::{Array, ArrayBuffer, BigInt64Array, Float32Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use worker::{Bulk, MessagePartsError};

/// The message to post, and the buffers to transfer with it.
pub(crate) fn wrap(header: &[u8], payload: &ArrayBuffer) -> (JsValue, JsValue) {
    let header = Uint8Array::from(header);
    let transfer = Array::of2(&header.buffer(), payload);
    (Array::of2(&header, payload).into(), transfer.into())
}

/// Header and payload of a posted message; `None` for anything else.
pub(crate) fn open(data: &JsValue) -> Option<(Vec<u8>, Contents)> {
    let parcel: &Array = data.dyn_ref()?;
    let header = parcel.get(0).dyn_into::<Uint8Array>().ok()?;
    Some((header.to_vec(), Contents(parcel.get(1).dyn_into().ok()?)))
}

/// A buffer outside this module's memory, which is copied into it once.
pub(crate) struct Contents(pub(crate) ArrayBuffer);

impl Contents {
    /// Its elements of `width` bytes each, as `copy` writes them. Detaches the buffer.
    fn read<T: Copy + Default>(
        self,
        copy: impl FnOnce(&ArrayBuffer, &mut [T]),
    ) -> Result<Vec<T>, MessagePartsError> {
        let bytes = self.0.byte_length() as usize;
        if !bytes.is_multiple_of(size_of::<T>()) {
            return Err(MessagePartsError::Malformed);
        }
        let length = bytes / size_of::<T>();
        let mut values = Vec::new();
        values.try_reserve_exact(length).map_err(|_| MessagePartsError::Memory)?;
        values.resize(length, T::default());
        copy(&self.0, &mut values);
        // Otherwise, a large buffer would stay until the next garbage collection. Not every browser supports
        // this.
        let _ = self.0.transfer_with_length(0);
        Ok(values)
    }
}

impl Bulk for Contents {
    fn bytes(self) -> Result<Vec<u8>, MessagePartsError> {
        self.read(|buffer, values| Uint8Array::new(buffer).copy_to(values))
    }

    fn floats(self) -> Result<Vec<f32>, MessagePartsError> {
        self.read(|buffer, values| Float32Array::new(buffer).copy_to(values))
    }

    fn integers(self) -> Result<Vec<i64>, MessagePartsError> {
        self.read(|buffer, values| BigInt64Array::new(buffer).copy_to(values))
    }
}
