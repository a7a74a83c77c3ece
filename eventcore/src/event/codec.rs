//! The conversion between an event and its payload: serde's view of an enum variant, turned into
//! the JSON of its own fields, and back.
//!
//! Values that `serde_json` would write but could not read back are refused: floats that are not
//! finite, nesting that is too deep, payloads that are too large. `serde_json` writes valid JSON
//! for every well-behaved `Serialize`; where an implementation may misbehave, the output is
//! checked. This module knows JSON, but neither stored names nor stores.

use std::{
    cell::Cell,
    fmt::{self, Write as _},
    io,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned, DeserializeSeed, IgnoredAny, IntoDeserializer, Visitor},
    ser,
};

use super::{DecodeError, EncodeError, MAX_EVENT_BYTES, json::check_json};

/// The level of nesting at which `serde_json` stops reading; at most one less is written.
pub const MAX_DEPTH: usize = 128;

/// The maximum nesting of serializers. Options and newtypes nest without nesting the JSON, and
/// could otherwise exhaust the stack undetected.
const MAX_LAYERS: usize = 4 * MAX_DEPTH;

/// Appends the fields of an enum variant to `out`: a struct variant as an object, a newtype as its
/// inner value, a tuple as an array, a unit as `{}`.
///
/// # Errors
/// Returns [`EncodeError`] if the value is not a variant, or has no JSON that reads back as itself.
pub fn encode_fields<T: Serialize + ?Sized>(
    type_name: &'static str,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    encode(out, |json, guard| {
        value.serialize(VariantFields {
            type_name,
            json,
            guard,
        })
    })
}

/// Appends a struct to `out`.
///
/// # Errors
/// Returns [`EncodeError`] if the struct has no JSON that reads back as itself.
pub fn encode_struct<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    encode(out, |json, guard| {
        value.serialize(Checked { inner: json, guard })
    })
}

/// Reads the variant with this index from a payload that `encode_fields` wrote.
///
/// # Errors
/// Returns [`DecodeError::InvalidPayload`] if the payload does not fit the variant.
pub fn decode_variant<T: DeserializeOwned>(
    type_name: &str,
    variant: u32,
    payload: &[u8],
) -> Result<T, DecodeError> {
    T::deserialize(VariantPayload { variant, payload }).map_err(|source| invalid(type_name, source))
}

/// Converts an event of an older type, after decoding, into the current type.
///
/// # Errors
/// Returns the error of decoding the older event.
pub fn upcast<Old, New>(
    old: Result<Old, DecodeError>,
    with: impl FnOnce(Old) -> New,
) -> Result<New, DecodeError> {
    old.map(with)
}

/// Reads a payload that `encode_struct` wrote.
///
/// # Errors
/// Returns [`DecodeError::InvalidPayload`] if the payload does not fit.
pub fn decode_struct<T: DeserializeOwned>(
    type_name: &str,
    payload: &[u8],
) -> Result<T, DecodeError> {
    serde_json::from_slice(payload).map_err(|source| invalid(type_name, source))
}

fn invalid(type_name: &str, source: serde_json::Error) -> DecodeError {
    DecodeError::InvalidPayload {
        type_name: type_name.to_owned(),
        source,
    }
}

type Json<'a> = serde_json::Serializer<Limited<'a>>;
type JsonFields<'a, 'w> =
    serde_json::ser::Compound<'a, Limited<'w>, serde_json::ser::CompactFormatter>;

fn encode(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Json<'_>, Guard<'_>) -> Result<(), serde_json::Error>,
) -> Result<(), EncodeError> {
    let refusal = Cell::new(None);
    let doubt = Cell::new(false);
    let start = out.len();
    let guard = Guard {
        refusal: &refusal,
        doubt: &doubt,
        depth: 0,
        layers: 0,
    };
    let end = start.saturating_add(MAX_EVENT_BYTES);
    let result = write(
        &mut Json::new(Limited {
            out: &mut *out,
            end,
            refusal: &refusal,
        }),
        guard,
    );
    // A refusal counts even if the event's own `Serialize` ignored the error.
    match refusal.take() {
        Some(refusal) => return Err(refusal),
        None => result.map_err(EncodeError::Serialize)?,
    }
    if doubt.get() {
        let written = out.get(start..).unwrap_or_default();
        check_json(written).map_err(|reason| EncodeError::NotJson { reason })?;
    }
    Ok(())
}

/// A writer that refuses to write past `end`.
struct Limited<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    refusal: &'a Cell<Option<EncodeError>>,
}

impl io::Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.end.saturating_sub(self.out.len()) {
            self.refusal.set(Some(EncodeError::TooLarge {
                max: MAX_EVENT_BYTES,
            }));
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The depth of a value, and the refusal, which `serde_json::Error` cannot carry.
#[derive(Clone, Copy)]
struct Guard<'r> {
    refusal: &'r Cell<Option<EncodeError>>,
    /// `true` if the output may not be valid JSON and has to be checked.
    doubt: &'r Cell<bool>,
    depth: usize,
    layers: usize,
}

impl Guard<'_> {
    fn refuse<E: ser::Error>(self, refusal: EncodeError) -> E {
        let error = E::custom(&refusal);
        self.refusal.set(Some(refusal));
        error
    }

    fn doubt(self) {
        self.doubt.set(true);
    }

    /// Marks a struct whose output has to be checked: `serde_json` writes a struct with one of its
    /// private names as raw text, and closes a value of length zero at once, even if fields follow.
    fn doubt_struct(self, name: &str, len: usize) {
        if len == 0 || name.starts_with("$serde_json::") {
            self.doubt();
        }
    }

    /// Returns the guard for a value nested `levels` deeper in the JSON.
    fn inside<E: ser::Error>(self, levels: usize) -> Result<Self, E> {
        let inside = Self {
            depth: self.depth + levels,
            layers: self.layers + 1,
            ..self
        };
        if inside.depth >= MAX_DEPTH || inside.layers > MAX_LAYERS {
            return Err(self.refuse(EncodeError::TooDeep { max: MAX_DEPTH - 1 }));
        }
        Ok(inside)
    }

    fn finite<E: ser::Error>(self, value: f64) -> Result<(), E> {
        if value.is_finite() {
            Ok(())
        } else {
            Err(self.refuse(EncodeError::NotFinite { value }))
        }
    }

    /// Refuses a text that is too large in itself before it is scanned for characters to escape.
    fn fits<E: ser::Error>(self, bytes: usize) -> Result<(), E> {
        if bytes <= MAX_EVENT_BYTES {
            Ok(())
        } else {
            Err(self.refuse(EncodeError::TooLarge {
                max: MAX_EVENT_BYTES,
            }))
        }
    }
}

/// A serializer that checks every value that passes through it.
struct Checked<'r, S> {
    inner: S,
    guard: Guard<'r>,
}

/// A value whose parts are checked when it is serialized.
struct CheckedValue<'r, 'v, T: ?Sized> {
    value: &'v T,
    guard: Guard<'r>,
}

impl<T: Serialize + ?Sized> Serialize for CheckedValue<'_, '_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let checked = Checked {
            inner: serializer,
            guard: self.guard,
        };
        // The value may be partly written, and the enclosing value may ignore the error.
        self.value
            .serialize(checked)
            .inspect_err(|_| self.guard.doubt())
    }
}

/// Returns the length if it is known and not zero. `serde_json` closes a value of length zero at
/// once, and writes the same output for an empty value of unknown length.
fn not_zero(len: Option<usize>) -> Option<usize> {
    len.filter(|len| *len != 0)
}

/// A text whose `Display` may fail, which `serde_json` assumes to be impossible.
struct CheckedText<'r, 'v, T: ?Sized> {
    value: &'v T,
    guard: Guard<'r>,
}

impl<T: fmt::Display + ?Sized> fmt::Display for CheckedText<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Watched {
            out: f,
            failed: false,
        };
        let written = write!(out, "{}", self.value);
        if written.is_err() && !out.failed {
            let refusal: EncodeError = ser::Error::custom("a `Display` returned an error");
            self.guard.refusal.set(Some(refusal));
            return Ok(());
        }
        written
    }
}

/// A formatter that records whether an error came from the underlying formatter.
struct Watched<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    failed: bool,
}

impl fmt::Write for Watched<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_str(text).inspect_err(|_| self.failed = true)
    }
}

impl<'r, S> Checked<'r, S> {
    fn fields<C>(guard: Guard<'r>, inner: C) -> Checked<'r, C> {
        Checked { inner, guard }
    }
}

macro_rules! forward {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $method(self, $($arg: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($arg),*)
        })*
    };
}

impl<'r, S: Serializer> Serializer for Checked<'r, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Checked<'r, S::SerializeSeq>;
    type SerializeTuple = Checked<'r, S::SerializeTuple>;
    type SerializeTupleStruct = Checked<'r, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Checked<'r, S::SerializeTupleVariant>;
    type SerializeMap = Checked<'r, S::SerializeMap>;
    type SerializeStruct = Checked<'r, S::SerializeStruct>;
    type SerializeStructVariant = Checked<'r, S::SerializeStructVariant>;

    forward! {
        serialize_bool(v: bool);
        serialize_i8(v: i8);
        serialize_i16(v: i16);
        serialize_i32(v: i32);
        serialize_i64(v: i64);
        serialize_i128(v: i128);
        serialize_u8(v: u8);
        serialize_u16(v: u16);
        serialize_u32(v: u32);
        serialize_u64(v: u64);
        serialize_u128(v: u128);
        serialize_char(v: char);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    fn serialize_f32(self, v: f32) -> Result<S::Ok, S::Error> {
        self.guard.finite(v.into())?;
        self.inner.serialize_f32(v)
    }

    fn serialize_f64(self, v: f64) -> Result<S::Ok, S::Error> {
        self.guard.finite(v)?;
        self.inner.serialize_f64(v)
    }

    fn serialize_str(self, v: &str) -> Result<S::Ok, S::Error> {
        self.guard.fits(v.len())?;
        self.inner.serialize_str(v)
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<S::Ok, S::Error> {
        self.guard.fits(v.len())?;
        self.inner.serialize_bytes(v)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let guard = self.guard.inside(0)?;
        self.inner.serialize_some(&CheckedValue { value, guard })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let guard = self.guard.inside(0)?;
        self.inner
            .serialize_newtype_struct(name, &CheckedValue { value, guard })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let guard = self.guard.inside(1)?;
        self.inner
            .serialize_newtype_variant(name, index, variant, &CheckedValue { value, guard })
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let guard = self.guard.inside(1)?;
        Ok(Self::fields(
            guard,
            self.inner.serialize_seq(not_zero(len))?,
        ))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.guard.doubt_struct("", len);
        let guard = self.guard.inside(1)?;
        Ok(Self::fields(guard, self.inner.serialize_tuple(len)?))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.guard.doubt_struct(name, len);
        let guard = self.guard.inside(1)?;
        Ok(Self::fields(
            guard,
            self.inner.serialize_tuple_struct(name, len)?,
        ))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.guard.doubt_struct(name, len);
        let guard = self.guard.inside(2)?;
        Ok(Self::fields(
            guard,
            self.inner
                .serialize_tuple_variant(name, index, variant, len)?,
        ))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let guard = self.guard.inside(1)?;
        Ok(Self::fields(
            guard,
            self.inner.serialize_map(not_zero(len))?,
        ))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.guard.doubt_struct(name, len);
        let guard = self.guard.inside(1)?;
        Ok(Self::fields(guard, self.inner.serialize_struct(name, len)?))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.guard.doubt_struct(name, len);
        let guard = self.guard.inside(2)?;
        Ok(Self::fields(
            guard,
            self.inner
                .serialize_struct_variant(name, index, variant, len)?,
        ))
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(&CheckedText {
            value,
            guard: self.guard,
        })
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! check_elements {
    ($($trait:ident::$method:ident;)*) => {
        $(impl<C: ser::$trait> ser::$trait for Checked<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                self.inner.$method(&CheckedValue { value, guard: self.guard })
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

check_elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! check_fields {
    ($($trait:ident),*) => {
        $(impl<C: ser::$trait> ser::$trait for Checked<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), C::Error> {
                self.inner.serialize_field(key, &CheckedValue { value, guard: self.guard })
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(key)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

check_fields!(SerializeStruct, SerializeStructVariant);

impl<C: ser::SerializeMap> ser::SerializeMap for Checked<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), C::Error> {
        let guard = self.guard;
        let key = CheckedValue { value: key, guard };
        self.inner
            .serialize_entry(&key, &CheckedValue { value, guard })
    }

    /// Marks the output to be checked: nothing guarantees that keys and values alternate.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.guard.doubt();
        self.inner.serialize_key(&CheckedValue {
            value: key,
            guard: self.guard,
        })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.guard.doubt();
        self.inner.serialize_value(&CheckedValue {
            value,
            guard: self.guard,
        })
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}

/// The serializer of an event enum: accepts a variant and writes its fields without the variant's
/// name.
struct VariantFields<'a, 'w, 'r> {
    type_name: &'static str,
    json: &'a mut Json<'w>,
    guard: Guard<'r>,
}

impl<'a, 'w, 'r> VariantFields<'a, 'w, 'r> {
    fn checked(self) -> Checked<'r, &'a mut Json<'w>> {
        Checked {
            inner: self.json,
            guard: self.guard,
        }
    }

    fn no_variant<T>(self) -> Result<T, serde_json::Error> {
        Err(self.guard.refuse(EncodeError::NotAVariant {
            type_name: self.type_name,
        }))
    }
}

/// The fields of a tuple or struct variant, written like those of a plain tuple or struct.
struct Fields<C>(C);

impl<C: ser::SerializeTuple> ser::SerializeTupleVariant for Fields<C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.0.serialize_element(value)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.0.end()
    }
}

impl<C: ser::SerializeStruct> ser::SerializeStructVariant for Fields<C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), C::Error> {
        self.0.serialize_field(key, value)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.0.end()
    }
}

macro_rules! no_variant {
    ($($method:ident($($type:ty),*) $(-> $result:ty)?;)*) => {
        $(no_variant!(@ $method($($type),*) $(-> $result)?);)*
    };
    (@ $method:ident($($type:ty),*)) => {
        no_variant!(@ $method($($type),*) -> ());
    };
    (@ $method:ident($a:ty, $b:ty) -> $result:ty) => {
        fn $method(self, _: $a, _: $b) -> Result<$result, serde_json::Error> {
            self.no_variant()
        }
    };
    (@ $method:ident($a:ty) -> $result:ty) => {
        fn $method(self, _: $a) -> Result<$result, serde_json::Error> {
            self.no_variant()
        }
    };
    (@ $method:ident() -> $result:ty) => {
        fn $method(self) -> Result<$result, serde_json::Error> {
            self.no_variant()
        }
    };
}

impl<'a, 'w, 'r> Serializer for VariantFields<'a, 'w, 'r> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = ser::Impossible<(), serde_json::Error>;
    type SerializeTuple = ser::Impossible<(), serde_json::Error>;
    type SerializeTupleStruct = ser::Impossible<(), serde_json::Error>;
    type SerializeTupleVariant = Fields<Checked<'r, JsonFields<'a, 'w>>>;
    type SerializeMap = ser::Impossible<(), serde_json::Error>;
    type SerializeStruct = ser::Impossible<(), serde_json::Error>;
    type SerializeStructVariant = Fields<Checked<'r, JsonFields<'a, 'w>>>;

    no_variant! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), serde_json::Error> {
        self.no_variant()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), serde_json::Error> {
        self.no_variant()
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<(), serde_json::Error> {
        self.no_variant()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<(), serde_json::Error> {
        ser::SerializeMap::end(self.checked().serialize_map(Some(0))?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), serde_json::Error> {
        value.serialize(self.checked())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, serde_json::Error> {
        self.checked().serialize_tuple(len).map(Fields)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, serde_json::Error> {
        self.checked().serialize_struct(variant, len).map(Fields)
    }
}

/// The deserializer of an event enum: the variant comes from the stored name, its content from the
/// payload.
struct VariantPayload<'a> {
    variant: u32,
    payload: &'a [u8],
}

impl<'de> VariantPayload<'de> {
    /// Reads the whole payload.
    fn read<T>(
        self,
        read: impl FnOnce(
            &mut serde_json::Deserializer<serde_json::de::SliceRead<'de>>,
        ) -> Result<T, serde_json::Error>,
    ) -> Result<T, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_slice(self.payload);
        let value = read(&mut json)?;
        json.end()?;
        Ok(value)
    }
}

impl<'de> Deserializer<'de> for VariantPayload<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, serde_json::Error> {
        Err(de::Error::custom(
            "the event type does not deserialize as an enum variant; use serde's derive",
        ))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> de::EnumAccess<'de> for VariantPayload<'de> {
    type Error = serde_json::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), serde_json::Error> {
        let variant = seed.deserialize(
            IntoDeserializer::<serde_json::Error>::into_deserializer(self.variant),
        )?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for VariantPayload<'de> {
    type Error = serde_json::Error;

    fn unit_variant(self) -> Result<(), serde_json::Error> {
        self.read(|json| NoFields::deserialize(json))
            .map(|NoFields| ())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, serde_json::Error> {
        self.read(|json| seed.deserialize(json))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        self.read(|json| json.deserialize_tuple(len, visitor))
    }

    /// Reads a map, so that an array in place of the object is refused.
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        self.read(|json| json.deserialize_map(visitor))
    }
}

/// The payload of a unit variant: null, or an object whose fields are ignored.
struct NoFields;

impl<'de> Deserialize<'de> for NoFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NoFieldsVisitor)
    }
}

struct NoFieldsVisitor;

impl<'de> Visitor<'de> for NoFieldsVisitor {
    type Value = NoFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E: de::Error>(self) -> Result<NoFields, E> {
        Ok(NoFields)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<NoFields, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(NoFields)
    }
}

#[cfg(test)]
mod tests;
