"""Every format, and which of them a table is."""

from __future__ import annotations

from ...errors import UsageError
from ..layout import GENERIC
from ..schema import Kind
from ..tables import Table
from .amazon_products import AmazonProducts
from .amazon_reviews import AmazonReviews2018, AmazonReviews2023
from .base import Feed
from .ga4 import GA4
from .ga4_report import GA4Report
from .google_merchant import GoogleMerchant
from .hm import HMArticles, HMTransactions
from .instacart import InstacartOrders, InstacartProducts
from .invoices import InvoiceItems, Invoices
from .kaggle_shop import KaggleShopEvents, KaggleShopItems
from .logs import Taobao, Tianchi, YooChooseBuys, YooChooseClicks
from .magento import Magento
from .movielens import MovieLensMovies, MovieLensRatings
from .otto import Otto
from .recbole import RecBoleEvents, RecBoleItems
from .retailrocket import RetailRocketEvents, RetailRocketItems
from .schema_org import SchemaOrg
from .shopify import Shopify
from .shopify_orders import ShopifyOrders
from .tracks import Amplitude, Mixpanel, Segment
from .woocommerce import WooCommerce

FEEDS: tuple[Feed, ...] = (
    Shopify(),
    WooCommerce(),
    Magento(),
    GoogleMerchant(),
    SchemaOrg(),
    AmazonProducts(),
    GA4(),
    GA4Report(),
    Segment(),
    Mixpanel(),
    Amplitude(),
    ShopifyOrders(),
    AmazonReviews2023(),
    AmazonReviews2018(),
    RecBoleItems(),
    RecBoleEvents(),
    RetailRocketItems(),
    RetailRocketEvents(),
    Otto(),
    HMArticles(),
    HMTransactions(),
    InstacartProducts(),
    InstacartOrders(),
    MovieLensMovies(),
    MovieLensRatings(),
    KaggleShopItems(),
    KaggleShopEvents(),
    InvoiceItems(),
    Invoices(),
    Taobao(),
    Tianchi(),
    YooChooseClicks(),
    YooChooseBuys(),
)


def format_names(kind: Kind | None = None) -> tuple[str, ...]:
    """What `--format` takes, for one kind of table or for both."""
    names = (feed.name for feed in FEEDS if kind in (None, feed.kind))
    return (*dict.fromkeys(names), GENERIC)


def find_feed(kind: Kind, table: Table, name: str | None) -> Feed | None:
    """The format of that name, else the one that the table is in; None reads its columns as they stand."""
    if name is None:
        return next((feed for feed in FEEDS if feed.kind == kind and feed.matches(table)), None)
    feed = next((feed for feed in FEEDS if feed.kind == kind and feed.name == name), None)
    if feed is None and name != GENERIC:
        raise UsageError(f"{name!r} is no format of {kind}; use one of {', '.join(format_names(kind))}.")
    return feed
