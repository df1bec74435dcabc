//! Shell: `homeward-slots DATA put BUILD | commit | confirm | back`: one step of an update at a time, by the agent's own code,
//! for tests that cut the power between any two of its calls.
#![expect(clippy::disallowed_methods, reason = "shell: a program for tests")]

use std::error::Error;
use std::path::{Path, PathBuf};

use homeward_agent::slot::file::{Folder, digest_of};
use homeward_agent::slot::{Build, Cause, Slots};
use homeward_protocol::release::Version;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (data, step) = words.split_first().ok_or("usage: homeward-slots DATA STEP")?;
    let folder = Folder::within(Path::new(data));
    let slots = folder.load()?.unwrap_or_default();
    match step {
        ["put", build] => folder.put(slots.free(), &PathBuf::from(build))?,
        ["commit"] => {
            let build = Build {
                sha256: digest_of(&folder.program(slots.free()))?,
                version: Version::ZERO,
                counter: 1,
            };
            folder.save(&slots.commit(build))?;
        }
        ["confirm"] => folder.save(&Slots::confirm(slots))?,
        ["back"] => folder.save(&slots.take_back(Cause::TakenBack))?,
        _ => return Err("a step is put BUILD, commit, confirm or back".into()),
    }
    Ok(())
}
