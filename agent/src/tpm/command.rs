//! Commands and their answers as bytes.
//!
//! Source: TCG TPM 2.0 Library, part 3; structure of commands: part 1, section 18.

use homeward_protocol::tpm::{FormError, MAX_STRUCTURE, Reader, Writer, alg};

use super::{Code, TpmError};

/// Most bytes of an answer: what the kernel's device hands out.
pub const MAX_ANSWER: usize = 4096;

/// The owner's hierarchy.
pub const OWNER: u32 = 0x4000_0001;
/// No hierarchy, no handle.
pub const NULL: u32 = 0x4000_0007;
/// A password in the place of a session.
const PASSWORD: u32 = 0x4000_0009;
/// The endorsement hierarchy.
pub const ENDORSEMENT: u32 = 0x4000_000b;
/// Where handles of keys that live until they are flushed begin.
pub const FIRST_TRANSIENT: u32 = 0x8000_0000;
/// Where handles of policy sessions begin: what a crashed client left behind.
pub const FIRST_LOADED_SESSION: u32 = 0x0200_0000;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// Answers begin with tag, length and code.
const HEAD: usize = 10;

/// A command: its name for errors, its code, its handles, who authorises each, and its parameters.
#[derive(Debug, Clone)]
pub struct Command {
    /// For errors.
    pub name: &'static str,
    code: u32,
    handles: Vec<u32>,
    /// One a handle that needs it: a session, or the empty password.
    authorised: Vec<Option<u32>>,
    parameters: Vec<u8>,
    answers_with_handle: bool,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The handle of what was made or loaded.
    pub handle: Option<u32>,
    /// The rest.
    pub parameters: Vec<u8>,
}

impl Command {
    fn new(name: &'static str, code: u32, handles: &[u32], parameters: Writer) -> Command {
        Command {
            name,
            code,
            handles: handles.to_vec(),
            authorised: Vec::new(),
            parameters: parameters.done(),
            answers_with_handle: false,
        }
    }

    fn by(mut self, authorised: &[Option<u32>]) -> Command {
        self.authorised = authorised.to_vec();
        self
    }

    fn gives_handle(mut self) -> Command {
        self.answers_with_handle = true;
        self
    }

    /// As it travels.
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Writer::new();
        for handle in &self.handles {
            body = body.u32(*handle);
        }
        if !self.authorised.is_empty() {
            let mut area = Writer::new();
            for session in &self.authorised {
                // A policy session continues no further than its use; a password has nothing to continue.
                area = area.u32(session.unwrap_or(PASSWORD)).sized(&[]).u8(0).sized(&[]);
            }
            let area = area.done();
            body = body.u32(u32::try_from(area.len()).unwrap_or(0)).raw(&area);
        }
        let body = body.raw(&self.parameters).done();
        let tag = if self.authorised.is_empty() {
            NO_SESSIONS
        } else {
            SESSIONS
        };
        let length = u32::try_from(HEAD + body.len()).unwrap_or(0);
        Writer::new()
            .u16(tag)
            .u32(length)
            .u32(self.code)
            .raw(&body)
            .done()
    }

    /// Reads the answer to it.
    pub fn answer(&self, bytes: &[u8]) -> Result<Answer, TpmError> {
        let read = self.read(bytes).map_err(|source| TpmError::Answer {
            command: self.name,
            source,
        })?;
        read.map_err(|code| TpmError::Refused {
            command: self.name,
            code,
        })
    }

    fn read(&self, bytes: &[u8]) -> Result<Result<Answer, Code>, FormError> {
        let mut from = Reader::new(bytes, "an answer");
        let tag = from.u16()?;
        if usize::try_from(from.u32()?) != Ok(bytes.len()) {
            return Err(FormError::Length("an answer"));
        }
        let code = from.u32()?;
        if code != 0 {
            return Ok(Err(Code(code)));
        }
        let handle = if self.answers_with_handle {
            Some(from.u32()?)
        } else {
            None
        };
        let parameters = if tag == SESSIONS {
            let length = usize::try_from(from.u32()?).unwrap_or(usize::MAX);
            from.take(length)?
        } else {
            from.rest()
        };
        Ok(Ok(Answer {
            handle,
            parameters: parameters.to_vec(),
        }))
    }
}

/// Handles in use, from `first` on.
pub fn handles(first: u32) -> Command {
    const HANDLES: u32 = 1;
    let parameters = Writer::new().u32(HANDLES).u32(first).u32(64);
    Command::new("GetCapability", 0x17a, &[], parameters)
}

/// Reads the answer to [`handles`].
pub fn handles_in(parameters: &[u8]) -> Result<Vec<u32>, FormError> {
    let mut from = Reader::new(parameters, "a list of handles");
    let (_more, _kind) = (from.u8()?, from.u32()?);
    let count = from.u32()?.min(64);
    (0..count).map(|_| from.u32()).collect()
}

/// Forgets a key or a session.
pub fn flush(handle: u32) -> Command {
    Command::new("FlushContext", 0x165, &[], Writer::new().u32(handle))
}

/// The public area of a key.
pub fn read_public(handle: u32) -> Command {
    Command::new("ReadPublic", 0x173, &[handle], Writer::new())
}

/// Makes a hierarchy's key from a template: the same one each time.
pub fn create_primary(hierarchy: u32, template: &[u8]) -> Command {
    let parameters = made_from(template, &[]);
    Command::new("CreatePrimary", 0x131, &[hierarchy], parameters)
        .by(&[None])
        .gives_handle()
}

/// Makes a key, or seals `data`, under a parent.
pub fn create(parent: u32, template: &[u8], data: &[u8]) -> Command {
    Command::new("Create", 0x153, &[parent], made_from(template, data)).by(&[None])
}

fn made_from(template: &[u8], data: &[u8]) -> Writer {
    let sensitive = Writer::new().sized(&[]).sized(data).done();
    Writer::new().sized(&sensitive).sized(template).sized(&[]).u32(0)
}

/// Loads what [`create`] gave.
pub fn load(parent: u32, private: &[u8], public: &[u8]) -> Command {
    let parameters = Writer::new().sized(private).sized(public);
    Command::new("Load", 0x157, &[parent], parameters)
        .by(&[None])
        .gives_handle()
}

/// Gives back what was sealed.
pub fn unseal(item: u32) -> Command {
    Command::new("Unseal", 0x15e, &[item], Writer::new()).by(&[None])
}

/// Signs a digest.
pub fn sign(key: u32, digest: &[u8]) -> Command {
    const TAG_HASHCHECK: u16 = 0x8024;
    let parameters = Writer::new()
        .sized(digest)
        .u16(alg::NULL)
        .u16(TAG_HASHCHECK)
        .u32(NULL)
        .sized(&[]);
    Command::new("Sign", 0x15d, &[key], parameters).by(&[None])
}

/// Certifies `object` by `key`.
pub fn certify(object: u32, key: u32, extra: &[u8]) -> Command {
    let parameters = Writer::new().sized(extra).u16(alg::NULL);
    Command::new("Certify", 0x148, &[object, key], parameters).by(&[None, None])
}

/// Quotes registers of the SHA-256 bank by `key`.
pub fn quote(key: u32, extra: &[u8], registers: &[u8]) -> Command {
    let parameters = selected(Writer::new().sized(extra).u16(alg::NULL), registers);
    Command::new("Quote", 0x158, &[key], parameters).by(&[None])
}

/// Reads registers of the SHA-256 bank: the first eight of what is selected.
pub fn pcr_read(registers: &[u8]) -> Command {
    Command::new("PCR_Read", 0x17e, &[], selected(Writer::new(), registers))
}

/// Extends a register of the SHA-256 bank.
pub fn pcr_extend(register: u8, digest: &[u8; 32]) -> Command {
    let parameters = Writer::new().u32(1).u16(alg::SHA256).raw(digest);
    Command::new("PCR_Extend", 0x182, &[u32::from(register)], parameters).by(&[None])
}

fn selected(to: Writer, registers: &[u8]) -> Writer {
    let mut bits = [0u8; 3];
    for register in registers {
        if let Some(byte) = bits.get_mut(usize::from(register / 8)) {
            *byte |= 1 << (register % 8);
        }
    }
    to.u32(1).u16(alg::SHA256).u8(3).raw(&bits)
}

/// Reads the answer to [`pcr_read`]: the registers that came, in rising order.
pub fn registers_in(parameters: &[u8]) -> Result<Vec<(u8, [u8; 32])>, FormError> {
    const WHAT: &str = "registers";
    let mut from = Reader::new(parameters, WHAT);
    let _counter = from.u32()?;
    if from.u32()? != 1 || from.u16()? != alg::SHA256 {
        return Err(FormError::Rule("registers of another bank"));
    }
    let length = usize::from(from.u8()?);
    let bits = from.take(length)?.to_vec();
    let numbers = bits.iter().zip(0u8..).flat_map(|(byte, at)| {
        let set = (0..8u8).filter(move |bit| byte >> bit & 1 == 1);
        set.map(move |bit| at.saturating_mul(8).saturating_add(bit))
    });
    let count = usize::try_from(from.u32()?).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for number in numbers {
        let value = from.sized(32)?.try_into().map_err(|_| FormError::Length(WHAT))?;
        found.push((number, value));
    }
    if found.len() == count {
        Ok(found)
    } else {
        Err(FormError::Length(WHAT))
    }
}

/// Begins a policy session whose policies are by this hash.
pub fn policy_session(hash: u16, nonce: &[u8]) -> Command {
    const POLICY: u8 = 1;
    let parameters = Writer::new()
        .sized(nonce)
        .sized(&[])
        .u8(POLICY)
        .u16(alg::NULL)
        .u16(hash);
    Command::new("StartAuthSession", 0x176, &[NULL, NULL], parameters).gives_handle()
}

/// Proves a hierarchy's password, here the empty one, in a policy session.
pub fn policy_secret(hierarchy: u32, session: u32) -> Command {
    let parameters = Writer::new().sized(&[]).sized(&[]).sized(&[]).u32(0);
    Command::new("PolicySecret", 0x151, &[hierarchy, session], parameters).by(&[None])
}

/// Takes either of these policies.
pub fn policy_or(session: u32, branches: [&[u8]; 2]) -> Command {
    let [first, second] = branches;
    let parameters = Writer::new().u32(2).sized(first).sized(second);
    Command::new("PolicyOR", 0x171, &[session], parameters)
}

/// Opens a credential that was made for the key `for_key` under the endorsement key, whose policy `session` met.
pub fn activate(for_key: u32, endorsement: u32, session: u32, credential: &[u8], secret: &[u8]) -> Command {
    let parameters = Writer::new().sized(credential).sized(secret);
    Command::new("ActivateCredential", 0x147, &[for_key, endorsement], parameters).by(&[None, Some(session)])
}

/// How long what lies at an index is.
pub fn nv_read_public(index: u32) -> Command {
    Command::new("NV_ReadPublic", 0x169, &[index], Writer::new())
}

/// Reads the answer to [`nv_read_public`]: the size, bytes.
pub fn size_in(parameters: &[u8]) -> Result<u16, FormError> {
    let mut outer = Reader::new(parameters, "an index");
    let mut from = Reader::new(outer.sized(MAX_STRUCTURE)?, "an index");
    let (_index, _hash, _attributes) = (from.u32()?, from.u16()?, from.u32()?);
    let _policy = from.sized(64)?;
    from.u16()
}

/// Reads a part of what lies at an index, by the index's own empty password.
pub fn nv_read(index: u32, length: u16, offset: u16) -> Command {
    let parameters = Writer::new().u16(length).u16(offset);
    Command::new("NV_Read", 0x14e, &[index, index], parameters).by(&[None])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_the_bytes_of_the_specification() {
        // Flush, and a signature by the empty password.
        assert_eq!(
            flush(0x8000_0001).bytes(),
            [0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65, 0x80, 0, 0, 1]
        );
        let signed = sign(0x8000_0002, &[7; 2]).bytes();
        assert_eq!(
            signed[..18],
            [0x80, 2, 0, 0, 0, 41, 0, 0, 1, 0x5d, 0x80, 0, 0, 2, 0, 0, 0, 9]
        );
        assert_eq!(signed[18..27], [0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        assert_eq!(signed.len(), 41);
    }

    #[test]
    fn an_answer_that_lies_about_its_length_is_refused() {
        let command = create_primary(OWNER, &[]);
        let whole = [0x80, 2, 0, 0, 0, 20, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 2, 5, 6];
        let answer = command.answer(&whole).expect("reads");
        assert_eq!(
            (answer.handle, answer.parameters),
            (Some(0x8000_0000), vec![5, 6])
        );
        for cut in 0..whole.len() {
            assert!(command.answer(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let refused = command.answer(&[0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x22]);
        assert!(matches!(
            refused,
            Err(TpmError::Refused {
                code: Code(0x922),
                ..
            })
        ));
    }
}
