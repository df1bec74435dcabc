//! Who may do what: roles, scopes, and the one table of routes that the console and the API are built from.
//!
//! # Design
//! The routers take each handler's guard from [`ROUTES`]; a route that is not in the table is not served, and a
//! golden file shows the table to whoever changes it. What a nurse sees of a list is cut in SQL by care team.
//! Tokens and sessions are 256 random bits, kept as SHA-256 only. Nobody has a default password.

pub mod password;
pub mod setup;
pub mod token;

use std::fmt;
use std::str::FromStr;

use homeward_protocol::id::TeamId;
use homeward_protocol::time::Timestamp;

use crate::care::UnknownName;

/// Fewest characters of a password. Length is what counts, so there is no rule on which characters.
pub const MIN_PASSWORD: usize = 12;
/// Most bytes of a password: what is longer only costs hashing time.
pub const MAX_PASSWORD: usize = 256;
/// A session ends after this long without a page being opened, milliseconds.
pub const IDLE_MS: i64 = 60 * 60_000;
/// A session ends after this long in any case, milliseconds: one shift.
pub const SESSION_MS: i64 = 12 * 3_600_000;
/// A set-up code can be used for this long, milliseconds.
pub const SETUP_MS: i64 = 24 * 3_600_000;

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the fleet: sees and changes everything of it.
    Operator,
    /// Sees the homes of the own care team.
    Nurse,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 2] = [Role::Operator, Role::Nurse];

    /// How it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Nurse => "nurse",
        }
    }

    /// Where a person of this role starts.
    pub const fn home(self) -> &'static str {
        match self {
            Role::Operator => "/fleet",
            Role::Nurse => "/care",
        }
    }
}

impl FromStr for Role {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Role::ALL.into_iter().find(|r| r.name() == text);
        found.ok_or_else(|| UnknownName {
            given: text.to_owned(),
            names: "operator, nurse",
        })
    }
}

/// What a program may do with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// See gateways, readings and incidents.
    FleetRead,
    /// Make claims, approve, revoke, and ask boxes for something.
    FleetWrite,
    /// Load policies, give them to gateways and take them back, shut gateways off and open them.
    PolicyWrite,
    /// Ask boxes for support sessions, come through them, and end them.
    SupportOpen,
    /// See how homes are.
    CareRead,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 5] = [
        Scope::FleetRead,
        Scope::FleetWrite,
        Scope::PolicyWrite,
        Scope::SupportOpen,
        Scope::CareRead,
    ];

    /// How it is kept and written.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::FleetRead => "fleet:read",
            Scope::FleetWrite => "fleet:write",
            Scope::PolicyWrite => "policy:write",
            Scope::SupportOpen => "support:open",
            Scope::CareRead => "care:read",
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Scope::ALL.into_iter().find(|s| s.name() == text);
        found.ok_or_else(|| UnknownName {
            given: text.to_owned(),
            names: "fleet:read, fleet:write, policy:write, support:open, care:read",
        })
    }
}

/// A person's sign-in name: 2 to 40 of `a-z 0-9 . - _`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

/// Not a sign-in name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 2 to 40 of a-z, 0-9, dot, hyphen and underscore")]
pub struct UserNameError;

impl UserName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = UserNameError;
    fn from_str(text: &str) -> Result<Self, UserNameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if (2..=40).contains(&text.len()) && text.bytes().all(plain) {
            Ok(UserName(text.to_owned()))
        } else {
            Err(UserNameError)
        }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which homes a visitor sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// All of them.
    Fleet,
    /// Those of this care team.
    Team(TeamId),
    /// None: a nurse who is in no team yet.
    Nobody,
}

impl Sight {
    /// What a person of this role and team sees.
    pub fn of(role: Role, team: Option<TeamId>) -> Sight {
        match (role, team) {
            (Role::Operator, _) => Sight::Fleet,
            (Role::Nurse, Some(team)) => Sight::Team(team),
            (Role::Nurse, None) => Sight::Nobody,
        }
    }
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRule {
    /// Shorter than [`MIN_PASSWORD`].
    #[error("a password needs at least {MIN_PASSWORD} characters; a few words in a row are fine")]
    Short,
    /// Longer than [`MAX_PASSWORD`].
    #[error("a password may have at most {MAX_PASSWORD} bytes")]
    Long,
    /// The person's own name.
    #[error("the password must not be the name")]
    IsName,
    /// The one that the person has.
    #[error("the new password is the one that you have")]
    Same,
}

/// Whether this may become this person's password.
pub fn check_password(name: &UserName, password: &str) -> Result<(), PasswordRule> {
    if password.chars().count() < MIN_PASSWORD {
        Err(PasswordRule::Short)
    } else if password.len() > MAX_PASSWORD {
        Err(PasswordRule::Long)
    } else if password.eq_ignore_ascii_case(name.as_str()) {
        Err(PasswordRule::IsName)
    } else {
        Ok(())
    }
}

/// Until when sign-in is closed after `failures` in a row: the fifth costs 30 s, each further one twice as much, at
/// most 15 minutes, so that nobody is locked out for good by somebody else's guessing.
pub fn locked_until(failures: i64, now: Timestamp) -> Option<Timestamp> {
    let beyond = failures.checked_sub(5).filter(|n| *n >= 0)?;
    let wait_s = 30i64 << beyond.min(5);
    Some(now.plus_ms(wait_s.min(900) * 1000))
}

/// The verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Looks.
    Get,
    /// Changes.
    Post,
}

impl Verb {
    /// As HTTP writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
        }
    }
}

/// Who is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Anybody who reaches the listener.
    Nothing,
    /// A person signed in with one of these roles.
    Person(&'static [Role]),
    /// A token with this scope.
    Token(Scope),
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The verb.
    pub verb: Verb,
    /// The path, with `{…}` for what varies.
    pub path: &'static str,
    /// Who is let through.
    pub needs: Needs,
}

const ANYBODY: Needs = Needs::Nothing;
const OPERATOR: Needs = Needs::Person(&[Role::Operator]);
const EITHER: Needs = Needs::Person(&[Role::Operator, Role::Nurse]);
const FLEET_READ: Needs = Needs::Token(Scope::FleetRead);
const FLEET_WRITE: Needs = Needs::Token(Scope::FleetWrite);
const POLICY_WRITE: Needs = Needs::Token(Scope::PolicyWrite);
const SUPPORT_OPEN: Needs = Needs::Token(Scope::SupportOpen);
const CARE_READ: Needs = Needs::Token(Scope::CareRead);

const fn get(path: &'static str, needs: Needs) -> Route {
    Route {
        verb: Verb::Get,
        path,
        needs,
    }
}

const fn post(path: &'static str, needs: Needs) -> Route {
    Route {
        verb: Verb::Post,
        path,
        needs,
    }
}

/// Every route that is served, and who is let through.
pub const ROUTES: &[Route] = &[
    get("/", EITHER),
    get("/assets/{file}", ANYBODY),
    get("/sign-in", ANYBODY),
    post("/sign-in", ANYBODY),
    post("/sign-out", EITHER),
    get("/password", EITHER),
    post("/password", EITHER),
    get("/setup", ANYBODY),
    post("/setup", ANYBODY),
    get("/events", EITHER),
    get("/care", EITHER),
    get("/care/rows", EITHER),
    get("/care/quiet", EITHER),
    post("/care/quiet", EITHER),
    get("/fleet", OPERATOR),
    get("/fleet/rows", OPERATOR),
    get("/gateways/{gateway}", OPERATOR),
    get("/gateways/{gateway}/windows", OPERATOR),
    get("/gateways/{gateway}/approve", OPERATOR),
    post("/gateways/{gateway}/approve", OPERATOR),
    get("/gateways/{gateway}/revoke", OPERATOR),
    post("/gateways/{gateway}/revoke", OPERATOR),
    post("/gateways/{gateway}/place", OPERATOR),
    post("/gateways/{gateway}/challenge", OPERATOR),
    post("/gateways/{gateway}/accept", OPERATOR),
    post("/gateways/{gateway}/isolate", OPERATOR),
    post("/gateways/{gateway}/release", OPERATOR),
    post("/gateways/{gateway}/group", OPERATOR),
    get("/policies", OPERATOR),
    post("/policies", OPERATOR),
    get("/policies/rows", OPERATOR),
    get("/policies/check", OPERATOR),
    post("/policies/check", OPERATOR),
    get("/policies/{version}", OPERATOR),
    get("/policies/{version}/rows", OPERATOR),
    post("/policies/{version}/assign", OPERATOR),
    post("/policies/{version}/withdraw", OPERATOR),
    get("/policies/{version}/papers", OPERATOR),
    get("/policies/keyring", OPERATOR),
    get("/drafts", OPERATOR),
    post("/drafts", OPERATOR),
    get("/drafts/{draft}", OPERATOR),
    post("/drafts/{draft}", OPERATOR),
    get("/drafts/{draft}/revisions/{revision}", OPERATOR),
    get("/drafts/{draft}/document", OPERATOR),
    post("/drafts/{draft}/ask", OPERATOR),
    get("/drafts/{draft}/review", OPERATOR),
    post("/drafts/{draft}/review", OPERATOR),
    post("/drafts/{draft}/signed", OPERATOR),
    post("/drafts/{draft}/drop", OPERATOR),
    get("/campaigns", OPERATOR),
    get("/campaigns/rows", OPERATOR),
    get("/campaigns/{campaign}", OPERATOR),
    get("/campaigns/{campaign}/rows", OPERATOR),
    post("/campaigns/{campaign}/order", OPERATOR),
    get("/releases", EITHER),
    get("/releases/note", EITHER),
    get("/dossiers", EITHER),
    get("/dossiers/{task}", EITHER),
    post("/dossiers/{task}", EITHER),
    post("/dossiers/{task}/withdraw", OPERATOR),
    post("/dossiers/{task}/reopen", OPERATOR),
    get("/advisories", EITHER),
    get("/advisories/{task}", EITHER),
    post("/advisories/{task}", EITHER),
    post("/advisories/{task}/withdraw", OPERATOR),
    post("/advisories/{task}/reopen", EITHER),
    get("/implants", EITHER),
    post("/implants", EITHER),
    post("/implants/{entry}/seen", EITHER),
    post("/implants/{entry}/end", EITHER),
    get("/rules", OPERATOR),
    post("/gateways/{gateway}/facts", OPERATOR),
    get("/posture", OPERATOR),
    get("/claims", OPERATOR),
    post("/claims", OPERATOR),
    get("/approvals", OPERATOR),
    get("/support", OPERATOR),
    post("/gateways/{gateway}/support/open", OPERATOR),
    post("/gateways/{gateway}/support/end", OPERATOR),
    get("/incidents", OPERATOR),
    post("/incidents/{incident}/close", OPERATOR),
    get("/placements", OPERATOR),
    post("/placements", OPERATOR),
    post("/teams", OPERATOR),
    get("/users", OPERATOR),
    post("/users", OPERATOR),
    post("/users/{user}/disable", OPERATOR),
    get("/audit", OPERATOR),
    get("/api/v1/openapi.json", ANYBODY),
    get("/api/v1/health", ANYBODY),
    get("/api/v1/gateways", FLEET_READ),
    get("/api/v1/gateways/{gateway}", FLEET_READ),
    get("/api/v1/gateways/{gateway}/windows", FLEET_READ),
    get("/api/v1/gateways/{gateway}/latest", FLEET_READ),
    get("/api/v1/gateways/{gateway}/readings", FLEET_READ),
    post("/api/v1/gateways/{gateway}/approve", FLEET_WRITE),
    post("/api/v1/gateways/{gateway}/revoke", FLEET_WRITE),
    get("/api/v1/gateways/{gateway}/attestation", FLEET_READ),
    post("/api/v1/gateways/{gateway}/challenge", FLEET_WRITE),
    post("/api/v1/gateways/{gateway}/accept", FLEET_WRITE),
    get("/api/v1/gateways/{gateway}/policy", FLEET_READ),
    post("/api/v1/gateways/{gateway}/isolate", POLICY_WRITE),
    post("/api/v1/gateways/{gateway}/release", POLICY_WRITE),
    get("/api/v1/gateways/{gateway}/quiet", FLEET_READ),
    post("/api/v1/gateways/{gateway}/quiet", FLEET_WRITE),
    post("/api/v1/gateways/{gateway}/quiet/end", FLEET_WRITE),
    get("/api/v1/gateways/{gateway}/support", FLEET_READ),
    get("/api/v1/gateways/{gateway}/support/connect", SUPPORT_OPEN),
    post("/api/v1/gateways/{gateway}/support/open", SUPPORT_OPEN),
    post("/api/v1/gateways/{gateway}/support/end", SUPPORT_OPEN),
    get("/api/v1/gateways/{gateway}/forces", FLEET_READ),
    post("/api/v1/gateways/{gateway}/forces", POLICY_WRITE),
    get("/api/v1/policies", FLEET_READ),
    post("/api/v1/policies", POLICY_WRITE),
    post("/api/v1/policies/check", FLEET_READ),
    post("/api/v1/policies/{version}/assign", POLICY_WRITE),
    post("/api/v1/policies/{version}/withdraw", POLICY_WRITE),
    get("/api/v1/drafts", FLEET_READ),
    get("/api/v1/drafts/{draft}", FLEET_READ),
    get("/api/v1/campaigns", FLEET_READ),
    get("/api/v1/campaigns/{campaign}", FLEET_READ),
    post("/api/v1/campaigns/{campaign}/halt", FLEET_WRITE),
    get("/api/v1/releases", FLEET_READ),
    get("/api/v1/dossiers", FLEET_READ),
    post("/api/v1/dossiers", FLEET_WRITE),
    get("/api/v1/dossiers/{task}", FLEET_READ),
    post("/api/v1/dossiers/{task}/plan", FLEET_WRITE),
    post("/api/v1/dossiers/{task}/confirm", FLEET_WRITE),
    post("/api/v1/dossiers/{task}/refuse", FLEET_WRITE),
    post("/api/v1/dossiers/{task}/withdraw", FLEET_WRITE),
    post("/api/v1/dossiers/{task}/reopen", FLEET_WRITE),
    get("/api/v1/advisories", FLEET_READ),
    post("/api/v1/advisories", FLEET_WRITE),
    get("/api/v1/advisories/tasks", CARE_READ),
    get("/api/v1/implants", CARE_READ),
    post("/api/v1/implants", FLEET_WRITE),
    post("/api/v1/implants/{entry}/end", FLEET_WRITE),
    get("/api/v1/rules", FLEET_READ),
    get("/api/v1/gateways/{gateway}/facts", FLEET_READ),
    post("/api/v1/gateways/{gateway}/facts", FLEET_WRITE),
    get("/api/v1/gateways/{gateway}/sbom", FLEET_READ),
    get("/api/v1/facts", FLEET_READ),
    get("/api/v1/software", FLEET_READ),
    post("/api/v1/claims", FLEET_WRITE),
    get("/api/v1/incidents", FLEET_READ),
    get("/api/v1/placements", CARE_READ),
];

/// Who is let through here; `None` when there is no such route.
pub fn needs(verb: Verb, path: &str) -> Option<Needs> {
    let found = ROUTES.iter().find(|r| r.verb == verb && r.path == path);
    found.map(|r| r.needs)
}

/// The table as a person reads it: one line a route, one column for each kind of visitor.
pub fn table() -> String {
    let mut text = line(&["route", "anonymous", "operator", "nurse", "token"].map(str::to_owned));
    for Route { verb, path, needs } in ROUTES {
        let person = |role: Role| match needs {
            Needs::Nothing => "yes",
            Needs::Person(roles) if roles.contains(&role) => "yes",
            Needs::Person(_) | Needs::Token(_) => "-",
        };
        let anonymous = if *needs == Needs::Nothing { "yes" } else { "-" };
        let token = match needs {
            Needs::Token(scope) => scope.name(),
            Needs::Nothing => "yes",
            Needs::Person(_) => "-",
        };
        let route = format!("{:<4} {path}", verb.name());
        let (operator, nurse) = (person(Role::Operator), person(Role::Nurse));
        let columns = [
            route,
            anonymous.into(),
            operator.into(),
            nurse.into(),
            token.to_owned(),
        ];
        text += &line(&columns);
    }
    text
}

fn line(columns: &[String; 5]) -> String {
    let [route, anonymous, operator, nurse, token] = columns;
    format!("{route:<46} {anonymous:<9} {operator:<9} {nurse:<9} {token}\n")
}

/// In front of a token's id where it stands beside people.
const CALLER: &str = "token:";

/// Who a token is in the audit trail.
pub fn caller(id: &str) -> String {
    format!("{CALLER}{id}")
}

/// The token that a name in the audit trail is of; none for a person.
pub fn of_caller(by: &str) -> Option<&str> {
    by.strip_prefix(CALLER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_stands_twice() {
        for (i, route) in ROUTES.iter().enumerate() {
            let twin = ROUTES
                .iter()
                .skip(i + 1)
                .any(|r| r.verb == route.verb && r.path == route.path);
            assert!(!twin, "{route:?} stands twice");
        }
    }

    #[test]
    fn what_changes_something_is_never_open_to_anybody_but_for_signing_in() {
        let open = ROUTES
            .iter()
            .filter(|r| r.verb == Verb::Post && r.needs == Needs::Nothing);
        let open: Vec<&str> = open.map(|r| r.path).collect();
        assert_eq!(open, ["/sign-in", "/setup"]);
    }

    #[test]
    fn guessing_gets_slower_and_never_locks_for_good() {
        let now = Timestamp::synced(0);
        let waits: Vec<Option<i64>> = (3..=12)
            .map(|n| locked_until(n, now).map(|t| t.ms / 1000))
            .collect();
        let expected = [0, 0, 30, 60, 120, 240, 480, 900, 900, 900].map(|s| (s > 0).then_some(s));
        assert_eq!(waits, expected);
        assert_eq!(locked_until(i64::MAX, now), Some(Timestamp::synced(900_000)));
    }

    #[test]
    fn a_password_is_judged_by_its_length_only() {
        let name: UserName = "ana.silva-nurse".parse().expect("a name");
        assert_eq!(check_password(&name, "short"), Err(PasswordRule::Short));
        assert_eq!(
            check_password(&name, "Ana.Silva-Nurse"),
            Err(PasswordRule::IsName)
        );
        assert_eq!(check_password(&name, &"x".repeat(300)), Err(PasswordRule::Long));
        assert_eq!(check_password(&name, "correct horse"), Ok(()));
        assert_eq!(check_password(&name, "äöüäöüäöüäöü"), Ok(()));
    }

    #[test]
    fn odd_names_are_refused() {
        for bad in ["", "a", "Ana", "a b", "a\n", "é1", &"x".repeat(41)] {
            assert!(bad.parse::<UserName>().is_err(), "{bad:?} was accepted");
        }
    }
}
