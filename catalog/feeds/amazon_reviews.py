"""Amazon Reviews: ratings of products, in the layout of 2023 and the older ones."""

from __future__ import annotations

from typing import ClassVar

from .shaping import Renamed


class AmazonReviews2023(Renamed):
    """A row a review; the catalog is keyed by the parent of the variant."""

    name = "amazon-reviews-2023"
    kind = "events"
    title = "Amazon Reviews 2023 (JSON Lines or CSV)"
    export = "the research set's review files, such as All_Beauty.jsonl"
    reads: ClassVar = {
        "user_id": "user_id",
        "item_id": "parent_asin",
        "timestamp": "timestamp",
        "value": "rating",
        "event_type": "always rating",
    }
    event_type = "rating"
    # What people wrote is not what models of behaviour read, and is most of the file.
    aside = ("title", "text", "images")


class AmazonReviews2018(Renamed):
    """A row a review, in the names of 2014 and 2018."""

    name = "amazon-reviews-2018"
    kind = "events"
    title = "Amazon Reviews 2014 and 2018 (JSON Lines)"
    export = "the research set's review files, such as All_Beauty_5.json"
    reads: ClassVar = {
        "user_id": "reviewerID",
        "item_id": "asin",
        "timestamp": "unixReviewTime",
        "value": "overall",
        "event_type": "always rating",
    }
    event_type = "rating"
    aside = ("reviewText", "summary", "reviewerName", "reviewTime", "image", "style")
