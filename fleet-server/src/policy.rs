//! Policies on the server's side: what is loaded, who shall have which, and how far each gateway has come.
//!
//! Decides only. [`admit`] says whether what people signed can be taken in; [`book`] who shall have which policy;
//! [`progress`] how far a gateway has come, and whether to send now; [`contain`] how a gateway stands to an order that
//! shuts it off; [`draft`] how people come to a text that is signed. [`publish`] sends.
//!
//! # Design
//! - The server makes no policy. It verifies what it is given as a box does ([`homeward_protocol::policy::sign`]), so
//!   that a person hears of a fault before the boxes do; what counts is the box's own look. The keys that sign are used
//!   by commands on other machines (`homeward-fleet policy sign`), which `serve` has no part in.
//! - Policies are ordered by their numbers, and a box never goes back. So what a gateway shall have is the highest
//!   number among what is assigned to it, its groups and all: nothing has to be remembered of earlier roll-outs.
//! - Who shall have what is compared with what each says, at each connection and each change. A message that is lost
//!   costs time.

pub mod admit;
pub mod book;
pub mod contain;
pub mod draft;
pub mod paper;
pub mod progress;
pub mod publish;
pub mod rollout;
pub mod roots;
pub mod take;
#[cfg(test)]
pub(crate) mod tests;
pub mod words;
