//! Every bound of the protocol, named once.
//!
//! A limit here is a rule: nodes and auditors refuse what exceeds it, so changing one
//! needs a new `rules_version`.

/// Longest canonical signed entry, in bytes, so that it fits a tlog-tiles bundle.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Most rows of one usage report.
pub const ROWS_PER_ENTRY_MAX: usize = 3_000;
/// Most contexts of one usage report; a row names its context in one byte.
pub const CONTEXTS_PER_ENTRY_MAX: usize = 256;
/// Longest cut, in journals.
pub const CUT_JOURNALS_MAX: usize = 1_024;
/// Most bytes of entries under one block.
pub const BLOCK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most entries under one block.
pub const BLOCK_ENTRIES_MAX: usize = 8_192;
/// Most usage rows under one block.
pub const BLOCK_ROWS_MAX: usize = 262_144;
/// Longest canonical block body (header and cut), in bytes.
pub const BLOCK_BODY_BYTES_MAX: usize = 128 * 1024;
/// Longest canonical certificate, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 128 * 1024;
/// Longest canonical genesis, in bytes.
pub const GENESIS_BYTES_MAX: usize = 1024 * 1024;
/// Longest canonical state value, in bytes. `sled` wants values under 100 KB.
pub const STATE_VALUE_BYTES_MAX: usize = 98_304;
/// Most members of a consortium.
pub const MEMBERS_MAX: usize = 1_024;
/// Highest total voting power.
pub const POWER_TOTAL_MAX: u64 = 1 << 32;
/// Most keys one member may have admitted, over all time.
pub const KEYS_PER_MEMBER_MAX: u32 = 4_096;
/// Longest name (member, asset, term id…), in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 200;
/// Longest code, in bytes of ASCII.
pub const CODE_BYTES_MAX: usize = 64;
/// Longest licence expression, in bytes.
pub const LICENCE_BYTES_MAX: usize = 1_024;
/// Most owners of an asset, members of a pool, entries of a split.
pub const OWNERS_MAX: usize = 1_024;
/// Most parties of an agreement.
pub const PARTIES_MAX: usize = 256;
/// Most versions of an agreement.
pub const AGREEMENT_VERSIONS_MAX: u32 = 1_000;
/// Longest that a version waits for signatures, in milliseconds: 90 days.
pub const PROPOSAL_MS_MAX: i64 = 90 * crate::time::DAY_MS;
/// Most grants of an agreement version.
pub const GRANTS_MAX: usize = 256;
/// Most grants of others that an agreement version relies on.
pub const UPSTREAM_MAX: usize = 16;
/// Most grants that one walk up a chain of sublicences asks.
pub const UPSTREAM_VISITS_MAX: usize = 64;
/// Most payment terms of an agreement version.
pub const PAYMENT_TERMS_MAX: usize = 256;
/// Most elements of a list inside a grant (assets, acts, purposes, territories…).
pub const GRANT_LIST_MAX: usize = 256;
/// Most tiers of a payment term.
pub const TIERS_MAX: usize = 64;
/// Most parents one lineage declaration names.
pub const PARENTS_PER_ENTRY_MAX: usize = 512;
/// Most parents of one version, over all declarations.
pub const PARENTS_MAX: usize = 10_000;
/// Deepest lineage that is walked.
pub const LINEAGE_DEPTH_MAX: usize = 64;
/// Most versions that one walk through lineage visits.
pub const LINEAGE_NODES_MAX: usize = 10_000;
/// Most links that one walk through lineage follows.
pub const LINEAGE_LINKS_MAX: usize = 20_000;
/// Most links that the declarations of all members together follow in one block; each
/// member may begin another walk until it has followed its share.
pub const LINEAGE_STEPS_PER_BLOCK_MAX: usize = 250_000;
/// Most asset versions that one line of a statement names and its charge is split over.
pub const LINE_VERSIONS_MAX: usize = 1_024;
/// Highest charge of one line, in minor units: so many lines as there can be sum up below
/// the range of 128 bits of micros.
pub const LINE_CHARGE_MINOR_MAX: i128 = 1_000_000_000_000_000_000_000_000;
/// Most bodies or agreements a key's scope lists.
pub const SCOPE_LIST_MAX: usize = 64;
/// Most claims on a block's space that one key may have parked, in entries.
pub const PARKED_PER_KEY_MAX: usize = 1_024;
