//! Shell: whole images among what puts software in place on a box.
#![expect(clippy::disallowed_methods, reason = "shell: asks aside")]

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::install::rauc::bus::Place;
use crate::install::rauc::images::{self, Images};
use crate::install::{Installer, Installers, Standing};
use crate::posture::facts::boot_id;
use crate::update::saved::Job;

/// Whether an image may be on trial at the start, by what is kept in `data`.
pub fn may_be_on_trial(data: &Path) -> bool {
    images::may_be_on_trial(data, &boot_id())
}

/// `installers` and RAUC's, with how the job stands by all of them; `standing` is how it does by `installers`. RAUC is asked
/// aside: it may take seconds.
pub async fn join(
    (installers, standing): (Installers, Standing),
    job: Option<Job>,
    (data, clock): (&Path, &Arc<Clock>),
) -> (Installers, Standing) {
    let images = Arc::new(Images::new(
        data,
        Place::default(),
        (boot_id(), Arc::clone(clock)),
        Handle::current(),
    ));
    let asked = Arc::clone(&images);
    let found = tokio::task::spawn_blocking(move || asked.standing(job.as_ref())).await;
    let found = found.unwrap_or_else(|ended| {
        tracing::error!(error = %ended, "it could not be found out how an image stands");
        Standing::Nothing
    });
    let standing = match (standing, found) {
        (standing @ Standing::Unwanted(_), _) | (standing, Standing::Nothing) => standing,
        (_, found) => found,
    };
    (installers.and(images), standing)
}
