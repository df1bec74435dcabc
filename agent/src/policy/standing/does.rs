//! What this agent does of each rule, for people and for the table in ARCHITECTURE.md.

use homeward_protocol::policy::points::Rule;

/// What an agent does of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// The box is made so, and what it is made to be is reported.
    Enforces,
    /// What is otherwise is found and reported, and nothing is changed.
    Observes,
    /// Neither.
    Nothing,
}

impl Does {
    /// What is done of `rule` on a box that has all that it takes.
    pub const fn of(rule: Rule) -> Does {
        match rule {
            Rule::Outbound
            | Rule::Inbound
            | Rule::Devices
            | Rule::Sensors
            | Rule::Bluetooth
            | Rule::ModbusWrites
            | Rule::Sshd
            | Rule::Polling
            | Rule::Retention
            | Rule::Intervals
            | Rule::Thresholds
            | Rule::Updates
            | Rule::Maintenance
            | Rule::Support => Does::Enforces,
            Rule::Accounts | Rule::Usb | Rule::Listening | Rule::Time => Does::Observes,
        }
    }

    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Does::Enforces => "enforced",
            Does::Observes => "observed",
            Does::Nothing => "not enforceable",
        }
    }
}
