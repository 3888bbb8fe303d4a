"""The vocabulary: which verbs, nouns and parameter names mean what. Data only, pure.

Lower case, singular. A word that is as often a noun as a verb (order, post, log) stands in WEAK:
it counts as a verb only where a name starts with it, or where nothing better is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.risk.assessment import Category


def _table(groups: Mapping[Category, str]) -> Mapping[str, Category]:
    return MappingProxyType(
        {w: category for category, text in groups.items() for w in text.split()}
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VERBS = _table(
    {
        Category.READ: """
            analyse analyze ask audit browse calculate capture check classify compare compute
            convert count crawl decode describe detect diagnose diff discover display download dump
            echo enumerate estimate examine explain explore extract fetch filter find geocode get
            glob grep hash head help identify inspect introspect list load locate look lookup map
            match measure monitor observe paginate parse peek ping plot poll predict preview profile
            query quote rank read recall recommend remind render research resolve retrieve return
            review scan score scrape screenshot search see show simulate sleep snapshot stat suggest
            summarise summarize tail test think tokenize trace track translate traverse validate
            verify view visualize wait watch whoami
            """,
        Category.WRITE: """
            accept acknowledge activate add adjust alert allocate allow annotate answer append
            approve archive assign associate attach attribute authorize autofit backup block book
            broadcast checkout cherrypick claim clone close collect comment commit compact complete
            compose configure confirm copy create customize decrypt define deny disable
            dismiss draft duplicate edit email enable encrypt enrich escalate exercise export extend
            favorite finalize flag follow fork format forward generate grant hide highlight import
            index ingest init initialize initiate insert invite issue join label link lock log make
            manage mark merge message migrate mint modify mount move mute notify open optimize order
            organize overwrite patch pin place play populate post prepare prepend protect publish
            pull push put rate react rebase receive record redact register reindex rename renew
            reopen reorder replace reply report request reserve resolve restore save schedule send
            set settle share sign snooze sort stage star stash store submit subscribe swap switch
            sync tag text toggle transfer transition turn unarchive unassign unblock undo unlock
            unmount unmute unpin unstage unsubscribe update upload upsert vote wake write
            """,
        Category.EXECUTE: """
            abort apply authenticate boot bootstrap build call cancel click compile connect control
            cordon debug deploy dial disconnect dispatch drag drain emulate eval evaluate exec
            execute exploit fill flash handle hover inject install interact interrupt invoke launch
            login logout navigate pause perform press process promote provision reboot reconcile
            redeploy release reload replay rerun resize restart resume retry rollback rollout rotate
            run scale scroll select shell spawn ssh start stop sudo swipe tap trigger tune type
            uncordon unload upgrade
            """,
        Category.DESTRUCTIVE: """
            ban burn clean cleanup clear deactivate decommission delete delist deprovision
            deregister destroy detach discard drop eject empty erase evict expire expunge flush
            forget kick kill nuke obliterate prune purge remove reset revoke rm rmdir scrub shred
            suspend terminate trash trim truncate undeploy uninstall unlink unpublish unregister
            unshare void wipe
            """,
        Category.FINANCIAL: """
            bid borrow buy charge deposit disburse donate lend liquidate pay payout prepay purchase
            refund reimburse remit repay sell stake trade unstake wire withdraw
            """,
    }
)
"""Every verb we know and the class its plain use means."""

WEAK = _words(
    """
    alert answer audit backup bid block book build call capture charge check checkout clean
    clear close comment commit compute connect control copy count deposit display draft dump
    email empty export fill filter follow fork format handle head help hover index issue label
    link load lock log look map match merge message move mute open order patch pin place plot
    post preview process profile query quote rank rate record release report request review
    scale schedule screenshot select share shell snapshot sort stage stake star start store
    switch sync tag tail test text trace track trade transfer transition trash turn type view
    vote watch
    """
)
"""Verbs which are as often nouns or adjectives."""

TENTATIVE = _words(
    """
    build check checkout clean clear commit control copy count fill fork head merge move patch
    pin preview query release scale schedule screenshot share snapshot start sync tail test
    trace transfer view
    """
)
"""Weak verbs which still decide from the end of a name (`git_commit`) when nothing better does."""

VAGUE = _words(
    """
    close complete connect control export generate handle index init load prepare process
    """
)
"""Verbs that say too little to stand alone: without a description they decide nothing."""

GENERIC = _words("do execute make perform run use")
"""In a sentence these lean on what follows: "run a search" is a search."""

SKIPPED = _words(
    """
    a able agent agents allow allows also an and api are async automatically batch be bulk by
    can currently directly either enables enabling for force from function given helper helps
    immediately in irreversibly is it lets manually mcp method new of on optionally or
    permanently quick quickly safe safely securely simply smart that the then this to tool use
    used user users using via which will with you your
    """
)
"""Words passed over while looking for the leading verb."""

MONEY = _words(
    """
    bitcoin btc cash charge coin crypto cryptocurrency deposit disbursement donation eth fund
    money payin payment payout payroll refund reimbursement remittance settlement sol tip topup
    transfer usdc usdt withdrawal
    """
)
"""What moves when money moves."""

TRADED = _words("asset leverage option order position share stock swap token trade")
"""What is traded; money only beside a market's own words (see MARKET)."""

MARKET = _words(
    """
    binance blockchain broker brokerage crypto cryptocurrency equities equity ethereum futures
    leverage market securities side solana stock stocks symbol trade trader trading usdc usdt
    """
)
"""Words which tell an order on a market from an order of rows."""

BILLED = MappingProxyType(
    {
        "subscription": _words("activate create renew resume update upgrade"),
        "transaction": _words("charge create finalize update"),
        "membership": _words("activate create renew resume upgrade"),
        "invoice": _words("charge collect finalize pay settle"),
        "bill": _words("charge collect finalize pay settle"),
    }
)
"""What is charged for, and the verbs which charge for it; money only with BILLING beside it."""

BILLING = _words(
    """
    billing charge charged customer paddle payment price proration stripe
    """
)

MOVING = _words(
    """
    accept add approve authorize cancel capture claim close complete confirm convert
    create dispatch execute exercise finalize initiate issue liquidate make modify move open
    pay place post prepare process receive release remit replace request retry save schedule
    send set settle sign submit swap transfer trigger update void wire
    """
)
"""Verbs that move money when MONEY (or TRADED on a market) is what they act on."""

NOT_MONEY = _words(
    """
    configuration domain domains event events history link links list method methods page
    pages plan plans reminder reminders report reports request requests rule rules schedule
    status template templates term terms type types webhook webhooks
    """
)
"""After a money word these name a record about money: a payment link moves nothing by itself."""

TAKEN_AWAY = _words(
    """
    account appointment booking event meeting membership reservation subscription
    """
)
"""What is lost when it is cancelled."""

CODE_PARAMETERS = _words(
    """
    aql bash cmd code command commands cypher eval expression function_body javascript
    javascript_code jql_script js kql lua powershell program promql python python_code
    query_string script shell soql source_code sparql spl sql sql_query sqlquery statement
    statements
    """
)
QUERY_LANGUAGES = _words("aggregation cypher graphql kql promql soql sparql sql")
PATH_WORDS = _words(
    """
    cwd destination_path dir directory file filename filepath files folder path paths
    """
)
SECRET_WORDS = _words(
    """
    apikey credential credentials mnemonic otp passphrase passwd password pin privatekey secret
    seed token
    """
)
SECRET_PAIRS = (("api", "key"), ("private", "key"), ("access", "key"), ("secret", "key"))
NOT_SECRET = _words("continuation count cursor id limit max mint next page sync")
RECIPIENT_WORDS = _words(
    """
    attendees bcc cc channel_id email emails invitees phone recipient recipients to to_address
    to_email
    """
)
REACHING = _words("broadcast invite notify reply send share")
"""Verbs of a name that reach other people."""
URL_WORDS = _words("domain endpoint hostname link uri url urls webhook website")
AMOUNT_WORDS = _words("amount lamports notional qty quantity")
AMOUNT_PARTNERS = _words(
    """
    charge counterparty currency destination destination_account from_asset mint payment_intent
    recipient side symbol to_account to_address toaccount toaddress
    """
)
ACTION_PARAMETERS = _words("action command_type method mode op operation sub_command")
BULK_WORDS = _words("all batch bulk entire everything many mass multiple")
PLURAL_PARAMETER = ("ids", "keys", "names", "items", "entities", "records", "emails", "paths")

IRREVERSIBLE_PHRASES = (
    "permanently",
    "irreversibl",
    "cannot be undone",
    "can't be undone",
    "can not be undone",
    "not reversible",
    "not recoverable",
    "no undo",
    "overwrite existing",
    "overwrites existing",
    "completely overwrite",
    "destructive operation",
    "data loss",
)
NEGATIONS = ("not ", "never ", "without ", "no ", "n't ", "non-", "avoid", "instead of ", "rather ")
