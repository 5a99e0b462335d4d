"""Words for event types: what analytics tools, shop systems and research sets call a view, a cart or a purchase."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ..errors import UsageError
from . import parsing
from .layout import SKIP
from .schema import EVENT_TYPES

# Returns are no positive interaction: removed on reading, with a warning that counts them.
RETURN = "return"
# Without case, blanks and punctuation.
ALIASES: dict[str, str] = {
    "view": (
        "views viewed pageview pageviews detailview detailviews detailpageview productview productviews productviewed "
        "productdetail productdetailviewed viewproduct viewitem viewcontent viewdetail viewdetails itemview itemviewed "
        "screenview productpageview visit pv browse browsed productdetailview viewedproduct "
        "productsviewed productdetailpageviewed detail details pdpview play watch watched listen read"
    ),
    "click": (
        "clicks clicked selectitem selectcontent productclick productclicked itemclick clickitem clickthrough "
        # Kept for later, without being on the way to a purchase.
        "addtowishlist wishlist addtofavorites addtofavourites favorite favourite favorites fav like liked bookmark "
        "collect productaddedtowishlist addedtowishlist clickedproduct save saved"
    ),
    "cart": (
        "carts addtocart addtocarts addedtocart cartadd addtobasket addtobag basket bag productadded "
        "productaddedtocart atc add added addedproduct"
    ),
    "purchase": (
        "purchases purchased buy buys bought order orders ordered orderplaced ordercompleted ordercreated placeorder "
        "sale sales sold transaction transactions checkout checkoutcompleted purchasecomplete completepurchase "
        "checkoutcomplete completedorder ordercomplete ecommercepurchase inapppurchase paid payment conversion"
    ),
    "search": "searches searched query queries viewsearchresults searchsubmitted productssearched productsearch",
    "impression": (
        "impressions shown show exposure exposures expose viewitemlist productimpression productimpressions "
        "productlistviewed collectionviewed display displayed"
    ),
    "rating": "ratings rate rated review reviews reviewed",
    RETURN: (
        "returns returned refund refunds refunded orderrefunded cancel cancelled canceled cancellation chargeback "
        "void voided"
    ),
}  # fmt: skip
# No interaction with an item: left out, and counted in a note.
SKIPPED = (
    "sessionstart sessionend sessionstarted firstvisit firstopen userengagement scroll scrolldepth begincheckout "
    "initiatecheckout checkoutstarted startcheckout checkoutprogress checkoutoption addpaymentinfo addshippinginfo "
    "paymentinfosubmitted checkoutaddressinfosubmitted checkoutcontactinfosubmitted checkoutshippinginfosubmitted "
    "removefromcart removedfromcart removefrombasket removefrombag productremoved productremovedfromcart "
    "remove removed removal removals removedproduct cartremove deletefromcart "
    "removefromwishlist unfav unfavorite dislike viewcart cartviewed cartview shoppingcartpageview viewpromotion "
    "selectpromotion promoview promoclick promotionviewed promotionclicked login logout signup signin signout register "
    "registration completeregistration share generatelead lead contact subscribe subscription filedownload videostart "
    "videoprogress videocomplete formstart formsubmit formview appremove appupdate appopen osupdate appexception "
    "exception error notificationreceive notificationopen notificationdismiss homepageview categorypageview "
    "timing pageload pageleave heartbeat identify ping adclick adimpression joingroup tutorialbegin "
    "tutorialcomplete pagescroll"
)
# Views of anything: without an item they are of no product.
PAGES = "pageview pageviews pageviewed screenview page visit selectcontent"


def squeezed(words: pl.Series) -> pl.Series:
    """Words without case, blanks and punctuation."""
    return words.str.to_lowercase().str.replace_all(r"[^\pL\pN]+", "")


def event_type_names() -> dict[str, str]:
    """Every known word, in lower-case letters only, and the event type that it stands for."""
    names = {alias: name for name, aliases in ALIASES.items() for alias in aliases.split()}
    return {**names, **{name: name for name in (*EVENT_TYPES, RETURN)}}


class EventWords:
    """What the words of a table stand for: those that the caller names, and those that are known."""

    def __init__(self, own: Mapping[str, str]) -> None:
        allowed = (*EVENT_TYPES, RETURN, SKIP)
        wrong = next((f"{word}={name}" for word, name in own.items() if name not in allowed), None)
        if wrong is not None:
            raise UsageError(f"--event-types {wrong} names no event type; use one of {', '.join(allowed)}.")
        told = dict(zip(squeezed(pl.Series(list(own), dtype=pl.String)).to_list(), own.values(), strict=True))
        self.told = frozenset(told)
        self.names = {**event_type_names(), **dict.fromkeys(SKIPPED.split(), SKIP), **told}
        self.page_words = [word for word in PAGES.split() if word not in told]

    def types(self, words: pl.Series) -> pl.Series:
        """The event type of each word; null where it is unknown."""
        own = words.drop_nulls().unique()  # few, whatever the length of the table
        types = squeezed(own).replace_strict(
            list(self.names), list(self.names.values()), default=None, return_dtype=pl.String
        )
        bought = (types == "purchase").fill_null(False)
        step = (squeezed(own) == "checkout").fill_null(False)
        if "checkout" not in self.told and (bought & ~step).any():
            # Beside purchases a checkout is the step before them.
            types = types.set(step, SKIP)
        return parsing.piecewise(
            words, lambda piece: piece.replace_strict(own, types, default=None, return_dtype=pl.String)
        )

    def skipped(self, words: pl.Series) -> pl.Series:
        """Where a word stands for no interaction with an item."""
        return (self.types(words) == SKIP).fill_null(False)

    def pages(self, words: pl.Series) -> pl.Series:
        """Where a word stands for the view of any page."""
        own = words.drop_nulls().unique()
        return words.is_in(own.filter(squeezed(own).is_in(self.page_words)).implode()).fill_null(False)
