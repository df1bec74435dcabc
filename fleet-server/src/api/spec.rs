//! Shell: the API's description, made from its handlers.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{
    advisories, attest, calendar, campaigns, care, dossiers, drafts, facts, fleet, forces, policies, policy,
    quiet, readings, releases, support,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Homeward fleet server", description = "What the console shows, for programs with a token."),
    paths(
        fleet::health,
        fleet::list,
        fleet::one,
        calendar::one,
        fleet::approve,
        fleet::revoke,
        fleet::claim,
        attest::one,
        attest::ask,
        attest::decide,
        policy::one,
        policy::isolate,
        policy::release,
        forces::list,
        forces::bring,
        quiet::one,
        quiet::ask,
        quiet::end,
        support::list,
        support::open,
        support::end,
        support::connect,
        policies::list,
        policies::load,
        policies::checked,
        policies::assign,
        policies::withdraw,
        drafts::list,
        drafts::one,
        policies::rules,
        campaigns::list,
        campaigns::one,
        campaigns::halt,
        releases::list,
        dossiers::list,
        dossiers::one,
        dossiers::plan,
        dossiers::confirm,
        dossiers::refuse,
        dossiers::open,
        dossiers::withdraw,
        dossiers::reopen,
        advisories::list,
        advisories::take,
        advisories::tasks,
        advisories::register,
        advisories::add,
        advisories::end,
        facts::one,
        facts::ask,
        facts::sbom,
        facts::find,
        facts::software,
        readings::latest,
        readings::range,
        care::placements,
        care::incidents
    ),
    modifiers(&Tokens)
)]
struct Spec;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, spec: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = spec.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The description.
pub fn document() -> utoipa::openapi::OpenApi {
    Spec::openapi()
}

/// The description, `OpenAPI` 3.1.
pub async fn get() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
