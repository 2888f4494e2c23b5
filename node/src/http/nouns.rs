//! The ledger's nouns, as lists and one by one.
//!
//! Lists are of the latest state. A single thing can be asked for as it was after some
//! height (`?as_of=`); names beside ids are then those of today.

use std::ops::Bound;
use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use syngraph_protocol::codec;
use syngraph_protocol::ids::{Height, Id, MemberId};
use syngraph_protocol::ledger::member::{Key, Member};
use syngraph_protocol::ledger::period::{Line, LineKey, Period};
use syngraph_protocol::ledger::{Ledger, Record, Table, state_key};
use syngraph_protocol::limits::STATE_VALUE_BYTES_MAX;
use syngraph_protocol::name::Name;
use syngraph_protocol::time::Month;

use super::cursor::{Page, PageQuery, page, page_of};
use super::doors::off_reactor;
use super::extract::{Gate, Named, NamedIn, Params};
use super::problem::Problem;
use super::views::agreement::{AgreementDetail, AgreementView, VersionDetail as TermsDetail};
use super::views::asset::{AssetDetail, AssetView, VersionDetail, VersionView};
use super::views::member::{KeyView, MemberDetail, MemberView, ProposalView};
use super::views::statement::{CarryView, LineView, StatementDetail, StatementView};
use super::views::{self, FindingView};
use crate::gate::{self, Snapshot};

type Listed<T> = Result<Json<Page<T>>, Problem>;
type Shown<T> = Result<Json<T>, Problem>;

/// As of when a thing is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AsOf {
    as_of: Option<u64>,
}

/// The state that a request reads: of now, or as it was.
struct Era {
    gate: gate::Gate,
    snapshot: Arc<Snapshot>,
    as_of: Option<Height>,
}

impl Era {
    fn new(gate: gate::Gate, AsOf { as_of }: AsOf) -> Result<Self, Problem> {
        let snapshot = gate.snapshot();
        let (as_of, tip) = (as_of.map(Height::new), snapshot.ledger.height());
        match as_of {
            Some(height) if height > tip => {
                let detail = format!("height {height} has not been decided; the last is {tip}");
                Err(Problem::bad_request("ASOF-FUTURE", detail))
            }
            _ => Ok(Self { gate, snapshot, as_of }),
        }
    }

    fn ledger(&self) -> &Ledger {
        &self.snapshot.ledger
    }

    /// The last height that counts.
    fn until(&self) -> Height {
        self.as_of.unwrap_or_else(|| self.ledger().height())
    }

    fn get<R: Record>(&self, table: &Table<R>, key: &R::Key) -> Result<Option<R>, Problem> {
        let Some(height) = self.as_of else { return Ok(table.get(key).cloned()) };
        let value = self.gate.reader().value_at(&state_key::<R>(key), height);
        let value = value.map_err(|error| Problem::internal(&error))?;
        let read = |bytes: Vec<u8>| codec::decode(&bytes, STATE_VALUE_BYTES_MAX);
        value.map(read).transpose().map_err(|error| Problem::internal(&error))
    }

    fn must<R: Record>(&self, table: &Table<R>, key: &R::Key, unknown: Unknown) -> Result<R, Problem> {
        self.get(table, key)?.ok_or_else(|| {
            let Unknown { rule, noun, name } = unknown;
            let when = self.as_of.map_or_else(String::new, |height| format!(" as of height {height}"));
            Problem::not_found(rule, format!("there is no {noun} {name}{when}"))
        })
    }
}

/// What is said of a thing that is not there.
struct Unknown {
    rule: &'static str,
    noun: &'static str,
    name: String,
}

fn unknown(rule: &'static str, noun: &'static str, name: impl ToString) -> Unknown {
    Unknown { rule, noun, name: name.to_string() }
}

/// Shows one thing; reading history blocks.
async fn show<T: Serialize + Send + 'static>(
    gate: gate::Gate,
    as_of: AsOf,
    look: impl FnOnce(&Era) -> Result<T, Problem> + Send + 'static,
) -> Shown<T> {
    off_reactor(move || look(&Era::new(gate, as_of)?)).await?.map(Json)
}

/// `GET /v1/members`.
pub(super) async fn members(Gate(gate): Gate, Params(query): Params<PageQuery>) -> Listed<MemberView> {
    let snapshot = gate.snapshot();
    page(&snapshot.ledger.members, &query, |id, member| views::member::member(*id, member)).map(Json)
}

/// `GET /v1/members/{id}`.
pub(super) async fn member(
    Gate(gate): Gate,
    Named(id): Named<u32>,
    Params(as_of): Params<AsOf>,
) -> Shown<MemberDetail> {
    let id = MemberId::new(id);
    show(gate, as_of, move |era| {
        let member: Member = era.must(&era.ledger().members, &id, unknown("MEM-UNKNOWN", "member", id))?;
        Ok(views::member::detail(id, &member, keys_of(era, id)?))
    })
    .await
}

/// Keys are registered once and for all, so today's list names all that ever were.
fn keys_of(era: &Era, member: MemberId) -> Result<Vec<KeyView>, Problem> {
    let table = &era.ledger().keys;
    let mut keys = Vec::new();
    for (id, _) in table.iter().filter(|(_, key)| key.member == member) {
        let then: Option<Key> = era.get(table, id)?;
        keys.extend(then.map(|key| views::member::key(*id, &key)));
    }
    Ok(keys)
}

/// `GET /v1/assets`.
pub(super) async fn assets(Gate(gate): Gate, Params(query): Params<PageQuery>) -> Listed<AssetView> {
    let ledger = &gate.snapshot().ledger;
    page(&ledger.assets, &query, |id, asset| views::asset::asset(ledger, *id, asset)).map(Json)
}

/// `GET /v1/assets/{id}`.
pub(super) async fn asset(
    Gate(gate): Gate,
    Named(id): Named<Id>,
    Params(as_of): Params<AsOf>,
) -> Shown<AssetDetail> {
    show(gate, as_of, move |era| {
        let asset = era.must(&era.ledger().assets, &id, unknown("AST-UNKNOWN", "asset", id))?;
        Ok(views::asset::asset_detail(era.ledger(), id, &asset, era.until()))
    })
    .await
}

/// `GET /v1/versions`.
pub(super) async fn versions(Gate(gate): Gate, Params(query): Params<PageQuery>) -> Listed<VersionView> {
    let ledger = &gate.snapshot().ledger;
    page(&ledger.versions, &query, |id, version| views::asset::version(ledger, *id, version)).map(Json)
}

/// `GET /v1/versions/{id}`.
pub(super) async fn version(
    Gate(gate): Gate,
    Named(id): Named<Id>,
    Params(as_of): Params<AsOf>,
) -> Shown<VersionDetail> {
    show(gate, as_of, move |era| {
        let missing = unknown("AST-VERSION-UNKNOWN", "asset version", id);
        let version = era.must(&era.ledger().versions, &id, missing)?;
        Ok(views::asset::version_detail(era.ledger(), id, &version, era.until()))
    })
    .await
}

/// `GET /v1/agreements`.
pub(super) async fn agreements(Gate(gate): Gate, Params(query): Params<PageQuery>) -> Listed<AgreementView> {
    let ledger = &gate.snapshot().ledger;
    let listed = page(&ledger.agreements, &query, |id, agreement| {
        let current = ledger.terms.get(&(*id, agreement.current));
        views::agreement::agreement(ledger, *id, agreement, current)
    });
    listed.map(Json)
}

/// `GET /v1/agreements/{id}`.
pub(super) async fn agreement(
    Gate(gate): Gate,
    Named(id): Named<Id>,
    Params(as_of): Params<AsOf>,
) -> Shown<AgreementDetail> {
    show(gate, as_of, move |era| {
        let ledger = era.ledger();
        let agreement = era.must(&ledger.agreements, &id, unknown("AGR-UNKNOWN", "agreement", id))?;
        views::agreement::detail(ledger, id, &agreement, |number| era.get(&ledger.terms, &(id, number)))
    })
    .await
}

/// `GET /v1/agreements/{id}/versions/{number}`.
pub(super) async fn agreement_version(
    Gate(gate): Gate,
    NamedIn(id, number): NamedIn<Id, u32>,
    Params(as_of): Params<AsOf>,
) -> Shown<TermsDetail> {
    show(gate, as_of, move |era| {
        let missing = unknown("AGR-VERSION-UNKNOWN", "version", format!("{number} of agreement {id}"));
        let version = era.must(&era.ledger().terms, &(id, number), missing)?;
        Ok(views::agreement::version(era.ledger(), id, number, &version))
    })
    .await
}

/// `GET /v1/statements`.
pub(super) async fn statements(Gate(gate): Gate, Params(query): Params<PageQuery>) -> Listed<StatementView> {
    let snapshot = gate.snapshot();
    page(&snapshot.ledger.periods, &query, |month, period| views::statement::statement(*month, period))
        .map(Json)
}

/// `GET /v1/statements/{month}`. Lines never change once their month is closed.
pub(super) async fn statement(
    Gate(gate): Gate,
    Named(month): Named<Month>,
    Params(as_of): Params<AsOf>,
) -> Shown<StatementDetail> {
    show(gate, as_of, move |era| {
        let ledger = era.ledger();
        let period = period(era, month)?;
        let lines = lines_page(ledger, month, &PageQuery::default())?;
        let detail = views::statement::detail(ledger, month, &period, lines);
        detail.map_err(|error| Problem::internal(&error))
    })
    .await
}

/// `GET /v1/statements/{month}/lines`.
pub(super) async fn lines(
    Gate(gate): Gate,
    Named(month): Named<Month>,
    Params(query): Params<PageQuery>,
) -> Listed<LineView> {
    let era = Era::new(gate, AsOf::default())?;
    period(&era, month)?;
    lines_page(era.ledger(), month, &query).map(Json)
}

fn period(era: &Era, month: Month) -> Result<Period, Problem> {
    era.must(&era.ledger().periods, &month, unknown("PER-OPEN", "statement of", month))
}

fn lines_page(ledger: &Ledger, month: Month, query: &PageQuery) -> Result<Page<LineView>, Problem> {
    let first: LineKey = (month, Id::from_bytes([0; 32]), Name::new(""), MemberId::new(0));
    let of_month = |(of, ..): &LineKey| *of == month;
    let show = |key: &LineKey, line: &Line| views::statement::line(ledger, key, line);
    page_of(&ledger.lines, query, Bound::Included(first), of_month, show)
}

/// `GET /v1/carries`.
pub(super) async fn carries(Gate(gate): Gate, Params(query): Params<PageQuery>) -> Listed<CarryView> {
    let ledger = &gate.snapshot().ledger;
    page(&ledger.carries, &query, |pair, carried| views::statement::carry(ledger, *pair, carried)).map(Json)
}

/// `GET /v1/findings`.
pub(super) async fn findings(Gate(gate): Gate, Params(query): Params<PageQuery>) -> Listed<FindingView> {
    let ledger = &gate.snapshot().ledger;
    page(&ledger.findings, &query, |id, finding| views::finding(ledger, *id, finding)).map(Json)
}

/// `GET /v1/findings/{id}`.
pub(super) async fn finding(
    Gate(gate): Gate,
    Named(id): Named<Id>,
    Params(as_of): Params<AsOf>,
) -> Shown<FindingView> {
    show(gate, as_of, move |era| {
        let finding = era.must(&era.ledger().findings, &id, unknown("FND-UNKNOWN", "finding", id))?;
        Ok(views::finding(era.ledger(), id, &finding))
    })
    .await
}

/// `GET /v1/proposals`.
pub(super) async fn proposals(Gate(gate): Gate, Params(query): Params<PageQuery>) -> Listed<ProposalView> {
    let ledger = &gate.snapshot().ledger;
    page(&ledger.proposals, &query, |id, proposal| views::member::proposal(ledger, *id, proposal)).map(Json)
}

/// `GET /v1/proposals/{id}`.
pub(super) async fn proposal(
    Gate(gate): Gate,
    Named(id): Named<Id>,
    Params(as_of): Params<AsOf>,
) -> Shown<ProposalView> {
    show(gate, as_of, move |era| {
        let proposal = era.must(&era.ledger().proposals, &id, unknown("PRO-UNKNOWN", "proposal", id))?;
        Ok(views::member::proposal(era.ledger(), id, &proposal))
    })
    .await
}
