//! Protobuf as a tree that can be damaged on purpose. It knows no schema: a field with bytes becomes a message when somebody looks
//! into it as one.

/// A message: its fields in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message(pub Vec<Field>);

/// A field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub number: u64,
    pub value: Value,
}

/// What stands in a field, by wire type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(Vec<u8>),
    Fixed32([u8; 4]),
}

/// Appends a varint.
pub fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

fn read_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

impl Message {
    /// The bytes as a message, or `None` when they cannot be one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut fields, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let tag = read_varint(bytes, &mut at)?;
            let mut take = |n: usize| {
                let taken = bytes.get(at..at.checked_add(n)?)?;
                at += n;
                Some(taken)
            };
            let value = match tag & 7 {
                0 => Value::Varint(read_varint(bytes, &mut at)?),
                1 => Value::Fixed64(take(8)?.try_into().ok()?),
                5 => Value::Fixed32(take(4)?.try_into().ok()?),
                2 => {
                    let length = usize::try_from(read_varint(bytes, &mut at)?).ok()?;
                    let taken = bytes.get(at..at.checked_add(length)?)?;
                    at += length;
                    Value::Bytes(taken.to_vec())
                }
                _ => return None,
            };
            fields.push(Field { number: tag >> 3, value });
        }
        Some(Self(fields))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for Field { number, value } in &self.0 {
            let tag = |wire: u64, out: &mut Vec<u8>| varint((number << 3) | wire, out);
            match value {
                Value::Varint(n) => {
                    tag(0, &mut out);
                    varint(*n, &mut out);
                }
                Value::Fixed64(b) => {
                    tag(1, &mut out);
                    out.extend(b);
                }
                Value::Bytes(b) => {
                    tag(2, &mut out);
                    varint(b.len() as u64, &mut out);
                    out.extend(b);
                }
                Value::Fixed32(b) => {
                    tag(5, &mut out);
                    out.extend(b);
                }
            }
        }
        out
    }

    /// Places of the fields with this number.
    pub fn places(&self, number: u64) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, f)| f.number == number).map(|(at, _)| at).collect()
    }

    /// The bytes of the first field with this number.
    pub fn bytes(&self, number: u64) -> Option<&[u8]> {
        self.0.iter().find_map(|f| match &f.value {
            Value::Bytes(b) if f.number == number => Some(b.as_slice()),
            _ => None,
        })
    }

    /// The bytes of every field with this number.
    pub fn all(&self, number: u64) -> Vec<Vec<u8>> {
        let bytes = |f: &Field| match &f.value {
            Value::Bytes(b) if f.number == number => Some(b.clone()),
            _ => None,
        };
        self.0.iter().filter_map(bytes).collect()
    }

    pub fn remove(&mut self, number: u64) {
        self.0.retain(|f| f.number != number);
    }

    pub fn push(&mut self, number: u64, value: Value) {
        self.0.push(Field { number, value });
    }

    /// Appends a text, a message or other bytes.
    pub fn put(&mut self, number: u64, bytes: impl Into<Vec<u8>>) {
        self.push(number, Value::Bytes(bytes.into()));
    }

    pub fn put_number(&mut self, number: u64, value: u64) {
        self.push(number, Value::Varint(value));
    }

    /// As [`Self::put`], for making messages in one expression.
    pub fn with(mut self, number: u64, bytes: impl Into<Vec<u8>>) -> Self {
        self.put(number, bytes);
        self
    }

    /// As [`Self::put_number`].
    pub fn with_number(mut self, number: u64, value: u64) -> Self {
        self.put_number(number, value);
        self
    }

    /// Changes the message in the field at this place; false where there is none.
    pub fn edit_at(&mut self, place: usize, change: &mut dyn FnMut(&mut Message)) -> bool {
        let Some(Field { value: Value::Bytes(bytes), .. }) = self.0.get_mut(place) else { return false };
        let Some(mut inner) = Self::parse(bytes) else { return false };
        change(&mut inner);
        *bytes = inner.to_bytes();
        true
    }

    /// Changes every message in fields with this number.
    pub fn edit_all(&mut self, number: u64, change: &mut dyn FnMut(&mut Message)) {
        for place in self.places(number) {
            self.edit_at(place, change);
        }
    }
}

impl From<Message> for Vec<u8> {
    fn from(message: Message) -> Self {
        message.to_bytes()
    }
}
