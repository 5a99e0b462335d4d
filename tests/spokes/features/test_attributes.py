import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.catalog.schema import ITEM_SCHEMA
from hubspoke.spokes.config import AttributeConfig
from hubspoke.spokes.features import attributes as module
from hubspoke.spokes.features.attributes import CategoricalField, NumericField, Vocabulary, fit_vocabulary
from hypothesis import given
from hypothesis import strategies as st

CONFIG = AttributeConfig()
NONE = dict.fromkeys(ITEM_SCHEMA)
QUANTITIES = ["1,2,3,4", "1.5 l,2 l,0.25 l,1 l"]
NAMES = ["1 l,2 l,3 ml,4 ml", "01,02,03,04", "1,2,1,2", "s,m,l,m", "4 x 3,4 x 3,5 x 3,5 x 3"]
EDGES = st.lists(st.integers(-50, 50), min_size=2, max_size=9, unique=True)


def catalog(*rows):
    """Items by what is said of them; `attributes` as a dict."""
    told = [[{"key": k, "value": v} for k, v in row.get("attributes", {}).items()] for row in rows]
    full = [NONE | {"item_id": f"i{n}", "title": ""} | row | {"attributes": told[n]} for n, row in enumerate(rows)]
    return pl.DataFrame(full, schema=ITEM_SCHEMA)


SHOP = catalog(
    {"brand": "Acme", "category_path": ["home", "lamps"], "price": 1.0, "attributes": {"size": "10 cm", "hue": "red"}},
    {"brand": " acme", "category_path": ["home", "lamps"], "price": 2.0, "attributes": {"size": "20 cm", "hue": "RED"}},
    {"brand": "Zed", "category_path": ["home", "rugs"], "price": 9.0, "attributes": {"size": "50cm", "hue": "blue"}},
    {"brand": "", "category_path": ["garden"], "price": None, "attributes": {"size": "30 cm"}},
)


@pytest.fixture
def vocabulary(monkeypatch):
    monkeypatch.setattr(module, "BINS", 2)
    return fit_vocabulary(SHOP, CONFIG)


def test_a_vocabulary_by_hand(vocabulary):
    # Values of one item only (zed, rugs, garden, blue) are left to the unknown bucket.
    assert [own.name for own in vocabulary.categorical] == ["brand", "category:1", "category:2", "attribute:hue"]
    assert [own.values for own in vocabulary.categorical] == [("acme",), ("home",), ("home > lamps",), ("red",)]
    # Medians of 1, 2, 9 and of 10, 20, 30, 50 are the inner edges of two bins.
    numeric = [("price", "", (1.0, 2.0, 9.0)), ("attribute:size", "cm", (10.0, 25.0, 50.0))]
    assert [(own.name, own.unit, own.edges) for own in vocabulary.numeric] == numeric
    assert len(vocabulary) == 6
    again = Vocabulary.model_validate_json(vocabulary.model_dump_json())
    assert again == vocabulary and again.fingerprint == vocabulary.fingerprint
    other = vocabulary.model_copy(update={"numeric": vocabulary.numeric[:1]})
    assert other.fingerprint != vocabulary.fingerprint
    rows = vocabulary.encode(SHOP)
    assert rows.categories.tolist() == [[2, 2, 2, 2], [2, 2, 2, 2], [0, 2, 0, 0], [1, 0, 1, 1]]
    numbers = [[0, 0, 0, 0, 0, 0], [1, 0, 0, 10 / 15, 0, 0], [1, 1, 0, 1, 1, 0], [0, 0, 1, 1, 5 / 25, 0]]
    np.testing.assert_allclose(rows.numbers, numbers, atol=1e-6)


def test_unseen_values_extremes_and_other_units_are_encoded(vocabulary):
    new = catalog(
        {"brand": "Nova", "category_path": ["sea", "boats", "big"], "price": 1e12, "attributes": {"size": "4 inch"}},
        {"price": float("inf"), "attributes": {"size": "large", "unheard of": "x", "hue": "mauve"}},
        {"price": -5.0, "category_path": [], "attributes": {"size": "-3 cm"}},
    )
    rows = vocabulary.encode(new)
    assert rows.categories.tolist() == [[0, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert rows.numbers.tolist() == [[1, 1, 0, 0, 0, 1], [0, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(("currency", "missing"), [("EUR", [1, 0, 0]), (None, [0, 0, 0])])
def test_another_currency_is_no_comparable_price(currency, missing):
    fitted = fit_vocabulary(catalog(*({"price": float(n), "currency": currency} for n in range(1, 5))), CONFIG)
    assert fitted.numeric[0].unit == (currency or "")
    new = catalog({"price": 2.5, "currency": "USD"}, {"price": 2.5, "currency": "EUR"}, {"price": 2.5})
    assert fitted.encode(new).numbers[:, -1].tolist() == missing


@pytest.mark.parametrize("values", [*QUANTITIES, *NAMES])
def test_numbers_with_one_unit_are_quantities_and_codes_are_names(values):
    items = catalog(*({"attributes": {"own": value}} for value in values.split(",")))
    fitted = fit_vocabulary(items, AttributeConfig(min_count=1))
    assert bool(fitted.numeric) is (values in QUANTITIES) and bool(fitted.categorical) is (values in NAMES)


def test_a_field_that_says_the_same_of_every_item_is_left_out_and_limits_keep_the_most_frequent(monkeypatch):
    same, some = [{"brand": "Acme"}] * 3, [{"brand": "Acme"}] * 3 + [{}]
    assert [len(fit_vocabulary(catalog(*own), CONFIG)) for own in (same, [], [{}, {}])] == [0, 0, 0]
    assert fit_vocabulary(catalog(*some), CONFIG).categorical[0].values == ("acme",)
    monkeypatch.setattr(module, "MAX_VALUES", 1)
    monkeypatch.setattr(module, "MAX_ATTRIBUTES", 2)
    given_rows = zip("aabbc", ["pq", "pq", "p", "q", "r"], strict=True)
    rows = [{"brand": brand, "attributes": dict.fromkeys(keys, "x")} for brand, keys in given_rows]
    fitted = fit_vocabulary(catalog(*rows), CONFIG)
    # Equal counts go by name.
    assert [own.name for own in fitted.categorical] == ["brand", "attribute:p", "attribute:q"]
    assert [own.values for own in fitted.categorical] == [("a",), ("x",), ("x",)]


texts = st.one_of(st.none(), st.sampled_from(["acme", "Zed", "nova", "", " ", "12", "7 cm", "\u00e9", "a > b"]))
rows = st.fixed_dictionaries(
    {
        "brand": texts,
        "price": st.one_of(st.none(), st.floats()),
        "currency": st.sampled_from([None, "EUR", "USD"]),
        "category_path": st.one_of(st.none(), st.lists(st.sampled_from(["a", "b", "c"]), max_size=6)),
        "attributes": st.dictionaries(st.sampled_from(["size", "hue", "a:b"]), texts.filter(bool)),
    }
)


@given(st.lists(rows, max_size=12), st.lists(rows, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_irrelevant_and_items_of_any_later_catalog_are_encoded(own, later, random):
    items, order = catalog(*own), random.sample(range(len(own)), len(own))
    fitted = fit_vocabulary(items, CONFIG)
    assert fit_vocabulary(items[order], CONFIG).fingerprint == fitted.fingerprint
    straight, moved = fitted.encode(items), fitted.encode(items[order])
    assert torch.equal(moved.categories, straight.categories[order])
    assert torch.equal(moved.numbers, straight.numbers[order])
    encoded = fitted.encode(catalog(*later))
    assert encoded.categories.shape == (len(later), len(fitted.categorical))
    sizes = torch.tensor([own.size for own in fitted.categorical])
    assert bool(((encoded.categories >= 0) & (encoded.categories < sizes)).all())
    assert bool(((encoded.numbers >= 0) & (encoded.numbers <= 1)).all())


@given(EDGES, st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_bins_increase_and_a_larger_number_is_never_less_far_through_any_bin(edges, numbers):
    own = NumericField(name="price", unit="", edges=tuple(float(edge) for edge in sorted(edges)))
    encoded = own.encode(pl.Series(sorted(numbers)))
    assert (np.diff(encoded[:, :-1], axis=0) >= 0).all() and not encoded[:, -1].any()
    # A bin is entered only when the one before it is full.
    assert ((encoded[:, :-2] == 1) | (encoded[:, 1:-1] == 0)).all()
    # Inside the range nothing is lost: the number comes back as the first edge and what each bin adds.
    inside = np.clip(sorted(numbers), min(edges), max(edges))
    np.testing.assert_allclose(min(edges) + encoded[:, :-1] @ np.diff(sorted(edges)), inside, atol=1e-3)
    for wrong in ((edges[0],), (edges[0],) * 2, (2.0, 1.0), (0.0, float("nan"))):
        with pytest.raises(ValueError, match="edges"):
            NumericField(name="price", unit="", edges=wrong)


def encoder(vocabulary, trained=True, **changes):
    """An encoder as a training might leave it, or as it starts."""
    torch.manual_seed(0)
    made = module.AttributeEncoder(vocabulary, CONFIG.model_copy(update=changes), 4)
    if trained:
        torch.nn.init.normal_(made.output.weight, generator=torch.Generator().manual_seed(1))
    return made.eval()


def test_it_starts_as_nothing_and_learns_from_there(vocabulary):
    out, made = encoder(vocabulary, trained=False)(vocabulary.encode(SHOP)), encoder(vocabulary)
    assert out.shape == (4, 4) and not out.any()
    made(vocabulary.encode(SHOP)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())
    for kind in ("categorical", "numeric"):  # one of either kind is enough
        alone = vocabulary.model_copy(update={"categorical": (), "numeric": (), kind: getattr(vocabulary, kind)})
        out = encoder(alone)(alone.encode(SHOP))
        assert out.shape == (4, 4) and (out[0] != out[2]).any()


def test_a_vector_by_hand(monkeypatch):
    monkeypatch.setattr(module, "WIDTH", 1)
    monkeypatch.setattr(module, "HIDDEN", 2)
    price = NumericField(name="price", unit="", edges=(0.0, 2.0, 4.0))
    known = Vocabulary(categorical=(CategoricalField(name="brand", values=("acme",)),), numeric=(price,))
    made = module.AttributeEncoder(known, AttributeConfig(dropout=0.0), 1)
    made.tables.weight.data = torch.tensor([[0.1], [0.2], [0.3]])
    made.bins.weight.data = torch.tensor([[1.0], [10.0], [100.0]])
    made.hidden.weight.data, made.output.weight.data = torch.eye(2), torch.ones(1, 2)
    rows = known.encode(catalog({"brand": "ACME", "price": 3.0}, {"brand": "who"}))
    gelu = torch.nn.functional.gelu(torch.tensor([[0.3, 1.0 + 5.0], [0.1, 100.0]]))
    torch.testing.assert_close(made(rows), gelu.sum(dim=1, keepdim=True))


def test_dropout_takes_whole_fields_away_in_training_only(vocabulary):
    made, read, own = encoder(vocabulary, dropout=0.5), {}, vocabulary.encode(SHOP)
    rows = module.AttributeRows(own.categories.repeat(50, 1), own.numbers.repeat(50, 1))
    made.tables.register_forward_pre_hook(lambda _, given: read.update(names=given[0] - made.offsets))
    made.hidden.register_forward_pre_hook(lambda _, given: read.update(fields=given[0]))
    made(rows)
    assert torch.equal(read["names"], rows.categories)
    price = slice(4 * module.WIDTH, 5 * module.WIDTH)
    was = read["fields"][:, price]
    made.train()(rows)
    changed = read["names"] != rows.categories
    assert 0.25 < changed.float().mean() < 0.5
    assert 0.3 < (read["names"][changed] == module.UNKNOWN).float().mean() < 0.7
    assert set(read["names"][changed].tolist()) == {module.UNKNOWN, module.MISSING}
    # The first numeric field, of three columns, is either as it was, or missing as a whole.
    own = read["fields"][:, price]
    dropped = (own == made.bins.weight[2]).all(dim=1)
    assert 0.5 < dropped.float().mean() < 0.75  # half, and half of the quarter that had no price anyway
    assert torch.equal(own[~dropped], was[~dropped])
